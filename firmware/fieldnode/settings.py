"""What was changed from afar (interval, calibration, targets ...): a file beside node.json.

Kept apart from node.json so that `reset_config` is to remove it.
"""

import json
import os

from fieldproto.jsonstrict import loads

from . import log

FILE = "settings.json"


class Settings:
    """A small dict on flash. Keys: interval_ms, keepalive_s, calibration, targets, alerts."""

    def __init__(self, path=FILE):
        self._path = path
        self.values = {}
        try:
            with open(path, "rb") as file:
                values = loads(file.read())
            if isinstance(values, dict):
                self.values = values
        except OSError:
            pass  # nothing was changed yet
        except ValueError:
            log.warning("%s is damaged: the provisioned settings are used" % path)

    def get(self, key, default=None):
        return self.values.get(key, default)

    def update(self, changes):
        """Store `changes`; a power cut leaves the old file or the new one. Raises OSError."""
        merged = dict(self.values)
        for key in changes:
            value = changes[key]
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                value = dict(merged[key], **value)
            merged[key] = value
        part = self._path + ".new"
        with open(part, "w") as file:
            json.dump(merged, file)
        os.rename(part, self._path)
        self.values = merged

    def clear(self):
        """Back to what was provisioned. Raises OSError."""
        self.values = {}
        try:
            os.remove(self._path)
        except OSError as error:
            if error.errno != 2:  # ENOENT: there was none
                raise
