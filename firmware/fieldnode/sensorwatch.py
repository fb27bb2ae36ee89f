"""Tells of sensors that fail or work again, once for each change that lasts."""

from micropython import const

_HOLD_MS = const(60000)  # a loose plug is one event, not one for each reading


class SensorWatch:
    """`failed` is the sampler's {sensor name: reason}; `notices` gets the events."""

    def __init__(self, failed, notices):
        self._failed = failed
        self._notices = notices
        self._told = []  # sensors told of as failed
        self._since = {}  # sensor of which the opposite of what was told is true -> ms

    def step(self, ms):
        if not (self._failed or self._told or self._since):
            return
        for name in list(self._failed) + self._told:
            if (name in self._told) != (name in self._failed):
                self._since.setdefault(name, ms)
        for name in list(self._since):
            told = name in self._told
            if told == (name in self._failed):
                del self._since[name]
            elif ms - self._since[name] >= _HOLD_MS:
                since = self._since.pop(name)
                event = {"event": "sensor", "sensor": name, "state": "works"}
                if told:
                    self._told.remove(name)
                else:
                    self._told.append(name)
                    event.update(state="failed", reason=self._failed[name])
                self._notices.append("event", event, since)
