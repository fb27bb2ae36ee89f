"""What was changed from afar (interval, calibration, targets ...): a file beside node.json.

Kept apart from node.json so that `reset_config` is to remove it.
"""

from . import store

FILE = "settings.json"


class Settings:
    """A small dict on flash. Keys: interval_ms, keepalive_s, calibration, targets, alerts."""

    def __init__(self, path=FILE):
        self._path = path
        self.values = store.load(path)

    def get(self, key, default=None):
        return self.values.get(key, default)

    def update(self, changes):
        """Store `changes`, merged into what is there. Raises OSError."""
        merged = dict(self.values)
        for key in changes:
            value = changes[key]
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                value = dict(merged[key], **value)
            merged[key] = value
        store.save(self._path, merged)
        self.values = merged

    def clear(self):
        """Back to what was provisioned. Raises OSError."""
        self.values = {}
        store.remove(self._path)
