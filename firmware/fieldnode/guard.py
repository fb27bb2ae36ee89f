"""Whether a pump has the effect it should: water in the tank, flow while it runs, none after."""

from micropython import const

from . import log
from .relay import Refused

_LEVEL = "water_level"
_SLACK_MS = const(10000)  # what a reading takes; two intervals and this without one: unknown


class Guard:
    """Of those relays of `node` that have a flow meter or a `tank_min`."""

    def __init__(self, node, clock):
        self._node = node
        self._clock = clock
        self._tank_min = {}  # relay -> percent
        self._level_ms = None  # of the last water level

    def add(self, relay, table, config):
        """Watch `relay`, of which `table` is the entry in `config`, as far as that asks for it."""
        node = self._node
        if "tank_min" in table:
            self._tank_min[relay] = table["tank_min"]
        pin = table.get("flow_meter")
        if pin is None:
            return
        from .flow import Flow

        line = zip(config["actuators"], node.actuators)
        line = [relay for entry, relay in line if entry.get("flow_meter") == pin]
        for entry, sensor in zip(config["sensors"], node.sampler.sensors):
            if entry["type"] == "pulse" and entry["pin"] == pin:
                relay.flow = Flow(sensor, table, line, self._clock)

    def on_reading(self, ms, values):
        if _LEVEL in values:
            self._level_ms = ms

    def check(self, relay):
        """Raises Refused when it is not known that there is water."""
        if relay in self._tank_min:
            fault = self._failing() or self._unknown() or self._empty(relay)
            if fault:
                raise Refused("%s must not run: %s" % (relay.name, fault))

    def watch(self, relay):
        """Why the run of `relay` has to end now, None if it may go on."""
        empty = self._empty(relay)
        flow = relay.flow
        if flow and flow.full():
            return flow.full_reason
        if empty or flow and flow.dry():
            self.alert("%s ran dry: %s" % (relay.name, empty or "no flow"))
            return "dry run"
        if relay in self._tank_min and self._unknown():
            return "error"
        return None

    def leaks(self):
        """Look for flow where nothing runs; the names of the relays with any."""
        found = []
        for relay in self._node.actuators:
            flow = relay.flow
            if flow is None or flow.line[0] is not relay:
                continue  # the first on a line speaks for all
            was = flow.leaking
            leaked = flow.leaked_ml()
            if flow.leaking:
                found.append(relay.name)
            if flow.leaking and not was:
                text = "%s is off and %d ml flowed in a minute: a leak, or its relay is stuck"
                self.alert(text % (relay.name, leaked))
            elif was and not flow.leaking:
                self.alert("%s: no leak any more" % relay.name, "cleared", "info")
        return found

    def alert(self, text, state="raised", severity="critical"):
        log.warning(text)
        alert = {"severity": severity, "message": text, "state": state}
        self._node.notices.append("alert", alert)

    def _failing(self):
        sampler = self._node.sampler
        for sensor in sampler.sensors:
            if _LEVEL in sensor.quantities and sensor.name in sampler.failed:
                return "no water level: %s" % sampler.failed[sensor.name]
        return None

    def _unknown(self):
        if self._level_ms is None:
            return "no water level yet"
        ago = self._clock.ms() - self._level_ms
        if ago > 2 * self._node.sampler.interval_ms + _SLACK_MS:
            return "no water level for %d s" % (ago // 1000)
        return None

    def _empty(self, relay):
        least = self._tank_min.get(relay)
        level = self._node.latest.get(_LEVEL)
        if least is None or level is None or level >= least:
            return None
        return "the tank is at %d %%, below %d %%" % (level, least)
