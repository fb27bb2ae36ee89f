"""Whether there is water to pump, by the last water level."""

from micropython import const

_LEVEL = "water_level"
_SLACK_MS = const(10000)  # what a reading takes; two intervals and this without one: unknown


class Tank:
    """Hears each reading of `node`."""

    def __init__(self, node, clock):
        self._node = node
        self._clock = clock
        self._ms = None  # of the last level

    def on_reading(self, ms, values):
        if _LEVEL in values:
            self._ms = ms

    def unknown(self):
        """Why nobody knows the level, None if somebody does."""
        if self._ms is None:
            return "no water level yet"
        sampler = self._node.sampler
        ago = self._clock.ms() - self._ms
        if ago > 2 * sampler.interval_ms + _SLACK_MS:
            return "no water level for %d s" % (ago // 1000)
        return None

    def failing(self):
        """Why the sensor of the level fails, None if it works."""
        sampler = self._node.sampler
        for sensor in sampler.sensors:
            if _LEVEL in sensor.quantities and sensor.name in sampler.failed:
                return "no water level: %s" % sampler.failed[sensor.name]
        return None

    def empty(self, least):
        """What the level is when it is below `least`, else None."""
        level = self._node.latest.get(_LEVEL)
        if level is None or level >= least:
            return None
        return "the tank is at %d %%, below %d %%" % (level, least)
