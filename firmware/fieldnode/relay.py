"""One switched output, never on without a hardware timer that will put it off."""

from micropython import const

from . import log

_LATE_MS = const(100)  # an alarm may come this late; then the loop ends the run
_SLACK = const(2)  # a metered amount may take this many times what the calibration says


class Refused(Exception):
    """A command or an actuation that must not happen; the message says why."""


class Relay:
    """A pump, a valve, a cleaning drive. A run of it is a lease: it ends by itself.

    `config` is an entry of node.json's `actuators`. The output is off from construction on.
    `runs` (a Runs) is asked before each run and told after it, `budget` (a Budget) limits it,
    `flow` (a Flow) measures it.
    `blocked` is why it must not run at all, None if it may.
    """

    runs = budget = flow = blocked = None

    def __init__(self, config, hal, clock):
        self.name = config["name"]
        self.id = config["id"]
        self.max_run_ms = config["max_run_s"] * 1000
        self.flow_ml_per_s = config.get("flow_ml_per_s")
        self.per_hour = config.get("per_hour", {})
        self.run_ms = 0  # total since boot
        self.ran_ms = 0  # of the last run, and so are the next four
        self.ran_ml = None  # measured, else by the calibration, None without either
        self.ended = None  # why it ended; None while it runs
        self.by = None  # who began it: "command", "schedule", "dosing"
        self.command = None  # the command whose run this is, until it is answered
        self.at_end = "done"  # why it ends when its lease is over
        self._off_level = 1 if config["active_low"] else 0
        self._pin = hal.pin_out(config["pin"], self._off_level)
        self._hal = hal
        self._clock = clock
        self._timer = None
        self._since_ms = None
        self._lease_ms = 0
        self._fired = False

    @property
    def running(self):
        return self._timer is not None

    def lease_ms(self, duration_ms, amount_ml):
        """How long a run may take. Raises Refused.

        The shorter of both where a command gives a duration and an amount; without either the
        maximum run time.
        """
        lease = duration_ms
        if amount_ml is not None:
            by_amount = self.amount_ms(amount_ml)
            lease = by_amount if lease is None else min(lease, by_amount)
        if lease is None:
            return self.max_run_ms
        self._check_max(lease)
        return max(lease, 1)

    def amount_ms(self, amount_ml):
        """How long `amount_ml` may take. Raises Refused."""
        if self.flow_ml_per_s is None:
            if self.flow is None:
                raise Refused("%s has no flow calibration (flow_ml_per_s) for ml" % self.name)
            return self.max_run_ms
        lease = int(amount_ml * 1000 / self.flow_ml_per_s)
        if self.flow is None:
            return lease
        self._check_max(lease)
        return min(lease * _SLACK, self.max_run_ms)

    def _check_max(self, lease):
        if lease > self.max_run_ms:
            raise Refused(
                "%d ms is over the maximum run time of %s, %d ms"
                % (lease, self.name, self.max_run_ms)
            )

    def on(self, lease_ms, by="command", amount_ml=None, command=None):
        """On for `lease_ms` at most, or until `amount_ml` is measured; returns the lease in force.

        A command replaces a run under way, nothing else does. Raises Refused: it is running, no
        hardware timer is free, or what `runs` says.
        """
        runs = self.runs
        if self.blocked:
            raise Refused("%s must not run: %s" % (self.name, self.blocked))
        if self.running and by != "command":
            raise Refused("%s is running" % self.name)
        if runs:
            runs.check(self, by)  # before the run under way is ended
        self.off("replaced")
        self.by = by
        self.at_end = "done"
        if runs:
            lease_ms = runs.begin(self, lease_ms, amount_ml, command)
        self._fired = False
        self._lease_ms = lease_ms
        try:
            # Armed before the pump runs: if there is no timer, there is no water.
            self._timer = self._hal.one_shot(lease_ms, self._expired)
        except OSError:
            if runs:
                runs.forget(self)
            raise Refused("no hardware timer is free for %s" % self.name)
        self._since_ms = self._clock.ms()
        self.ended = None
        self.command = command
        self._pin.value(1 - self._off_level)
        if self._fired:  # in the lines above: the lease was that short
            self._expired(None)
        log.info("%s on for %d ms" % (self.name, lease_ms))
        return lease_ms

    def off(self, reason):
        """Off, whatever the state was."""
        if self._since_ms is not None and self._timer is None:
            self._account(self._lease_ms, self.at_end)
        self._pin.value(self._off_level)
        timer = self._timer  # which may fire, and set it to None, between here and there
        if timer is not None:
            timer.cancel()
            self._timer = None
            self._account(self._clock.ms() - self._since_ms, reason)

    def step(self):
        """Take note of a run that the timer ended, and end one whose alarm was lost.

        The ESP32 drops a timer's callback when eight others, of a flow meter's edges say, wait
        to be run (MICROPY_SCHEDULER_DEPTH).
        """
        if self._since_ms is None:
            return
        if self._timer is None:
            self._account(self._lease_ms, self.at_end)
        elif self._clock.ms() - self._since_ms > self._lease_ms + _LATE_MS:
            log.warning("%s: the timer's alarm was lost" % self.name)
            self.off(self.at_end)

    def _expired(self, _timer):
        # Runs between any two bytecodes of the loop: the pin, and no more than the loop can miss.
        self._pin.value(self._off_level)
        self._fired = True
        self._timer = None

    def _account(self, ran_ms, reason):
        self._since_ms = None
        self.ran_ms = ran_ms
        self.run_ms += ran_ms
        self.ended = reason
        self.ran_ml = None
        if self.flow is not None:
            self.ran_ml = self.flow.run_ml()
        if self.ran_ml is None and self.flow_ml_per_s is not None:
            self.ran_ml = ran_ms * self.flow_ml_per_s / 1000
        log.info("%s off after %d ms: %s" % (self.name, ran_ms, reason))
        if self.runs:
            self.runs.end(self)

    def running_ms(self):
        """How long the present run has lasted, 0 when it is off."""
        return 0 if self._since_ms is None else self._clock.ms() - self._since_ms

    def totals(self):
        """{quantity: amount since boot} by the configured rates an hour."""
        ms = self.run_ms + self.running_ms()
        return {name: self.per_hour[name] * ms / 3600000 for name in self.per_hour}
