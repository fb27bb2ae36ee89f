"""Closed-loop dosing: small doses towards a target, a pause to mix after each, many ways to stop.

One dose at a time on the whole node: acid and chlorine must not meet undiluted.
"""

from micropython import const

from . import log
from .relay import Refused

# Doses in a row that move the reading by less than the deadband towards its target: the canister
# is empty, or the probe is not in the water.
_NO_EFFECT = const(5)


class Dosing:
    """All loops of node.json's `dosing`, `tables`. Doses run under the budget of their pump."""

    def __init__(self, tables, node, clock):
        self._node = node
        self._clock = clock
        self.loops = [_Loop(table, node) for table in tables]
        # After a boot too: a dose may have gone in just before the power failed.
        self._mixed_ms = clock.ms() + max([table["mix_s"] for table in tables]) * 1000

    def set_target(self, quantity, value):
        """Aim for `value` from now on, after a reboot too. Raises Refused, OSError."""
        loops = [loop for loop in self.loops if loop.quantity == quantity]
        if not loops:
            raise Refused("this node does not dose %s" % quantity)
        for loop in loops:
            loop.check_target(value)
        self._node.configuration.settings.update({"targets": {quantity: value}})
        for loop in loops:
            loop.aim(value)

    def on_reading(self, ms, values):
        for loop in self.loops:
            if loop.quantity in values:
                loop.value = values[loop.quantity]
                loop.value_ms = ms
        if "flow_rate" in values:
            for loop in self.loops:
                loop.flow = values["flow_rate"]
                loop.flow_ms = ms

    def step(self):
        now = self._clock.ms()
        for loop in self.loops:
            if loop.has_run():  # for a command too
                self._mixed_ms = max(self._mixed_ms, now + loop.mix_ms)
        for i, loop in enumerate(self.loops):
            why = loop.obstacle(now)
            if (why or loop.refused) != loop.stopped:
                self._report(loop, why or loop.refused)
            if why or now < max(self._mixed_ms, loop.retry_ms) or not loop.wants(self._mixed_ms):
                continue
            try:
                loop.dose()
            except Refused as error:
                loop.refused = loop.refused or str(error)  # one alert, though the text may change
                loop.retry_ms = now + loop.mix_ms
                continue
            self._mixed_ms = now + loop.dose_ms + loop.mix_ms
            self.loops.append(self.loops.pop(i))  # the others' turn comes first then
            break

    def report(self, status):
        """Put what keeps a loop from dosing into the `status` values."""
        faults = ["%s: %s" % (loop.quantity, loop.stopped) for loop in self.loops if loop.stopped]
        if faults:
            status["dosing_error"] = "; ".join(faults)[:200]

    def _report(self, loop, why):
        loop.stopped = why
        text = "dosing of %s: %s" % (loop.quantity, why or "goes on")
        log.warning(text)
        alert = {"severity": "warning" if why else "info", "message": text}
        alert["sensor"] = self._node.dialect.word(loop.quantity)
        if loop.value is not None:
            alert["value"] = loop.value
        self._node.notices.append("alert", alert)
        self._node.sender.status_due()


class _Loop:
    def __init__(self, table, node):
        self.quantity = table["quantity"]
        self.dose_ms = table["dose_s"] * 1000
        self.mix_ms = table["mix_s"] * 1000
        self.value = self.value_ms = self.flow = self.flow_ms = None
        self.stopped = None  # why it does not dose, as last reported
        self.refused = None  # why the last dose could not be given
        self.retry_ms = 0
        self._run_ms = 0  # of the pump, as last seen
        self._table = table
        self._sign = 1 if table["direction"] == "up" else -1
        self._relay = node.actuator(table["actuator"])
        targets = node.configuration.settings.get("targets", {})
        self.aim(targets.get(self.quantity, table.get("target")))

    def check_target(self, value):
        if not self._table["min"] <= value <= self._table["max"]:
            raise Refused(
                "%s is not from %s to %s" % (value, self._table["min"], self._table["max"])
            )

    def aim(self, value):
        self.target = value
        self.refused = None
        self._doses = 0  # without effect so far
        self._before = None  # the reading ahead of the first of them

    def obstacle(self, now):
        """Why no dose may be given, or None."""
        if self.target is None:
            return None
        table = self._table
        silent_ms = table["silent_s"] * 1000
        if now - (self.value_ms or 0) > silent_ms:
            return "no reading for %d s" % table["silent_s"]
        if self.value is None:
            return None  # freshly booted: the first reading is still to come
        if not table["min"] <= self.value <= table["max"]:
            return "the reading is not plausible"
        if "flow_min" in table:
            if self.flow_ms is None or now - self.flow_ms > silent_ms:
                return "no reading of the flow"
            if self.flow < table["flow_min"]:
                return "no flow past the dosing point"
        if self._doses >= _NO_EFFECT:
            return "%d doses had no effect" % _NO_EFFECT
        return None

    def has_run(self):
        """Whether the pump has run since the last call."""
        before, self._run_ms = self._run_ms, self._relay.run_ms + self._relay.running_ms()
        return self._run_ms != before

    def wants(self, mixed_ms):
        """Whether a reading from after the mixing is off the target."""
        if self.target is None or self.value is None or self.value_ms < mixed_ms:
            return False
        # Rounded: 7.5 is not over 7.4 by more than 0.1, though in binary it is.
        return round((self.target - self.value) * self._sign, 3) > self._table["deadband"]

    def dose(self):
        """Raises Refused."""
        before = self._before
        if (
            before is None
            or round((self.value - before) * self._sign, 3) >= self._table["deadband"]
        ):
            self._before = self.value
            self._doses = 0
        self._relay.on(self.dose_ms, "dosing")
        self.refused = None
        self._doses += 1
