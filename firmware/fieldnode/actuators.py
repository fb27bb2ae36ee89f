"""Relays and the LED. A relay is never on without a hardware timer that will put it off."""

from micropython import const

from . import log

_LATE_MS = const(100)  # an alarm may come this late; then the loop ends the run


class Refused(Exception):
    """An actuation that must not happen; the message says why."""


class Relay:
    """One switched output: a pump, a valve, a cleaning drive.

    `config` is an entry of node.json's `actuators`. The output is off from construction on.
    """

    def __init__(self, config, hal, clock):
        self.name = config["name"]
        self.id = config["id"]
        self.max_run_ms = config["max_run_s"] * 1000
        self.flow_ml_per_s = config.get("flow_ml_per_s")
        self.per_hour = config.get("per_hour", {})
        self.run_ms = 0  # total since boot
        self.ran_ms = 0  # of the last run
        self.ended = None  # why the last run ended, until the node has taken note
        self._off_level = 1 if config["active_low"] else 0
        self._pin = hal.pin_out(config["pin"], self._off_level)
        self._hal = hal
        self._clock = clock
        self._timer = None
        self._since_ms = None
        self._lease_ms = 0
        self._fired = False
        self.command = None  # the command whose run this is

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
            if self.flow_ml_per_s is None:
                raise Refused("%s has no flow calibration (flow_ml_per_s) for ml" % self.name)
            by_amount = int(amount_ml * 1000 / self.flow_ml_per_s)
            lease = by_amount if lease is None else min(lease, by_amount)
        if lease is None:
            return self.max_run_ms
        if lease > self.max_run_ms:
            raise Refused(
                "%d ms is over the maximum run time of %s, %d ms"
                % (lease, self.name, self.max_run_ms)
            )
        return max(lease, 1)

    def on(self, lease_ms):
        """On for `lease_ms` at most. Raises Refused where no hardware timer is free."""
        if self.running:
            self.off("replaced")
        self._fired = False
        try:
            # Armed before the pump runs: if there is no timer, there is no water.
            self._timer = self._hal.one_shot(lease_ms, self._expired)
        except OSError:
            raise Refused("no hardware timer is free for %s" % self.name)
        self._since_ms = self._clock.ms()
        self._lease_ms = lease_ms
        self._pin.value(1 - self._off_level)
        if self._fired:  # in the lines above: the lease was that short
            self._expired(None)
        log.info("%s on for %d ms" % (self.name, lease_ms))

    def off(self, reason):
        """Off, whatever the state was."""
        if self._since_ms is not None and self._timer is None:
            self._account(self._lease_ms, "done")
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
            self._account(self._lease_ms, "done")
        elif self._clock.ms() - self._since_ms > self._lease_ms + _LATE_MS:
            log.warning("%s: the timer's alarm was lost" % self.name)
            self.off("done")

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
        log.info("%s off after %d ms: %s" % (self.name, ran_ms, reason))

    def totals(self):
        """{quantity: amount since boot} by the configured rates an hour."""
        ms = self.run_ms
        if self._since_ms is not None:
            ms += self._clock.ms() - self._since_ms
        return {name: self.per_hour[name] * ms / 3600000 for name in self.per_hour}


class Led:
    """The board's LED, dimmed by PWM: brightness 0-255."""

    def __init__(self, config, hal):
        self._invert = config["active_low"]
        self._pwm = hal.pwm(config["pin"])
        self.state = 0
        self.brightness = 255
        self.set(0, None)

    def set(self, state, brightness):
        self.state = state
        if brightness is not None:
            self.brightness = brightness
        level = self.brightness * 257 if state else 0
        self._pwm.duty_u16(65535 - level if self._invert else level)
