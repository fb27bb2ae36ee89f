"""What was changed from afar (interval, calibration, targets ...): a file beside node.json.

Kept apart from node.json so that `reset_config` is to remove it. What a change on trial replaces is
in the same file: one write puts the change in force together with the way back.
"""

from . import store

FILE = "settings.json"
_TRIAL = "trial"


class Settings:
    """A small dict on flash. Keys: interval_ms, keepalive_s, calibration, targets, alerts.

    `trial` is None, or {"old": {key: value before, None for none}, "boots": starts since}.
    """

    def __init__(self, path=FILE):
        self._path = path
        self.values = store.load(path)
        trial = self.values.pop(_TRIAL, None)
        self.trial = trial if isinstance(trial, dict) and "old" in trial else None

    def get(self, key, default=None):
        return self.values.get(key, default)

    def update(self, changes, on_trial=False):
        """Store `changes`, merged into what is there; `on_trial` with what they replace.

        Raises OSError; then nothing has changed.
        """
        merged = dict(self.values)
        trial = self.trial
        if on_trial:
            trial = {"old": {key: merged.get(key) for key in changes}, "boots": 0}
            if self.trial:  # the way back leads to what has proved itself
                trial["old"].update(self.trial["old"])
        for key in changes:
            value = changes[key]
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                value = dict(merged[key], **value)
            merged[key] = value
        self.replace(merged, trial)

    def replace(self, values, trial=None):
        """Store `values` in place of all there is. Raises OSError; then nothing has changed."""
        store.save(self._path, dict(values, **{_TRIAL: trial}) if trial else values)
        self.values = values
        self.trial = trial

    def before(self):
        """The values as they were before the change on trial."""
        values = dict(self.values)
        old = self.trial["old"]
        for key in old:
            values.pop(key, None)
            if old[key] is not None:
                values[key] = old[key]
        return values

    def clear(self):
        """Back to what was provisioned. Raises OSError."""
        store.remove(self._path)
        self.values = {}
        self.trial = None
