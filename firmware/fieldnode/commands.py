"""What each action does. An action is a dialect's command by its canonical name."""

from fieldproto.schema import FieldError

from . import log
from .actuators import Refused
from .sensors.base import SensorError

ACCEPTED = "accepted"
DONE = "done"
FAILED = "failed"


class Commands:
    """Carries out commands on `node` and answers each exactly as far as the dialect has words."""

    def __init__(self, node, clock):
        self._node = node
        self._clock = clock
        self._calibrating = None  # (due ms, command, sensor, quantity)
        self._actions = {
            "sample": self._sample,
            "actuate": self._actuate,
            "set_interval": self._set_interval,
            "restart": self._restart,
            "ota": self._ota,
            "set_led": self._set_led,
            "set_target": self._set_target,
            "calibrate": self._calibrate,
            "reset_config": self._reset_config,
        }

    def run(self, command, at_end=False):
        """Carry out a decoded command (`Record.values`); every outcome is answered.

        With `at_end` a run of an actuator is answered as accepted, and as done by `settle`.
        """
        action = self._actions.get(command["action"])
        try:
            if action is None:
                raise Refused("this node cannot %s" % command["action"])
            state, data = action(command, command["params"], at_end)
        except (Refused, SensorError, FieldError) as error:
            self.answer(command, FAILED, error=str(error))
        except OSError as error:
            self.answer(command, FAILED, error="hardware error %s" % error)
        else:
            if state is not None:
                self.answer(command, state, data)

    def answer(self, command, state, data=None, error=None):
        """Queue the reply to `command`."""
        log.info("%s %s%s" % (command.get("command"), state, ": " + error if error else ""))
        reply = {"id": command.get("id"), "command": command.get("command"), "state": state}
        if error:
            reply["error"] = error
        merged = self._node.actuator_states()
        merged.update(data or {})
        reply["data"] = merged
        self._node.notices.append("reply", reply)

    def settle(self):
        """Answer the commands whose run or calibration has ended."""
        if self._calibrating is not None:
            self._settle_calibration()
        for relay in self._node.actuators:
            relay.step()
            if relay.ended is None:
                continue
            reason, relay.ended = relay.ended, None
            self._node.status_due()
            command, relay.command = relay.command, None
            if command is not None:
                data = {"ended": reason, "ran_ms": relay.ran_ms}
                if relay.flow_ml_per_s is not None:
                    data["amount_ml"] = int(relay.ran_ms * relay.flow_ml_per_s / 1000)
                self.answer(command, DONE, data)

    def configure(self, settings):
        """Apply a config update (canonical settings), all of it or nothing. Raises FieldError."""
        changes = dict(settings)
        for key in ("calibration", "alerts"):
            if key in changes:
                quantity = self._node.dialect.quantity
                part = changes[key]
                changes[key] = {quantity(word): part[word] for word in part}
        for name in changes.get("calibration", {}):
            self._sensor(name)
        self._node.settings.update(changes)
        self._node.apply_settings()
        log.info("configured: %s" % ", ".join(sorted(changes)))

    def _sensor(self, quantity):
        for sensor in self._node.sampler.sensors:
            if quantity in sensor.quantities:
                return sensor
        raise Refused("no sensor measures %s" % quantity)

    def _sample(self, command, params, at_end):
        self._node.sampler.sample_now()
        return DONE, None

    def _actuate(self, command, params, at_end):
        wanted = params["actuator"]
        for relay in self._node.actuators:
            if wanted == relay.name or wanted == relay.id:
                break
        else:
            raise Refused("this node has no actuator %s" % wanted)
        if not params["state"]:
            relay.off("stopped")
            self._node.status_due()
            return DONE, {"state": 0, relay.name: 0}
        if at_end and params.get("duration_ms") is None and params.get("amount_ml") is None:
            raise Refused("a duration or an amount is required")
        lease = relay.lease_ms(params.get("duration_ms"), params.get("amount_ml"))
        if relay.running:
            relay.off("replaced")
            self.settle()
        relay.on(lease)
        self._node.status_due()
        if at_end:
            relay.command = command
        return ACCEPTED if at_end else DONE, {"state": 1, relay.name: 1, "duration_ms": lease}

    def _set_interval(self, command, params, at_end):
        self.configure({"interval_ms": params["interval_ms"]})
        return DONE, {"interval_ms": params["interval_ms"]}

    def _restart(self, command, params, at_end):
        self._node.restart_after_replies()
        return DONE, None

    def _ota(self, command, params, at_end):
        raise Refused("this firmware cannot update itself from an URL")

    def _set_led(self, command, params, at_end):
        if self._node.led is None:
            raise Refused("this node has no LED")
        self._node.led.set(params["state"], params.get("brightness"))
        self._node.status_due()
        return DONE, None

    def _set_target(self, command, params, at_end):
        self._node.settings.update({"targets": {params["quantity"]: params["value"]}})
        return DONE, {"value": params["value"]}

    def _calibrate(self, command, params, at_end):
        quantity = self._node.dialect.quantity(params["sensor"])
        sensor = self._sensor(quantity)
        if self._calibrating is not None:
            raise Refused("another calibration is under way")
        ms = sensor.calibrate(quantity, params["value"])
        self._calibrating = (self._clock.ms() + ms, command, sensor, quantity)
        return None, None

    def _settle_calibration(self):
        due, command, sensor, quantity = self._calibrating
        if self._clock.ms() < due:
            return
        self._calibrating = None
        try:
            sensor.calibrated()
            offset, scale = sensor.calibration(quantity)
            keep = {quantity: {"offset": offset, "scale": scale}}
            self._node.settings.update({"calibration": keep})
        except (SensorError, OSError) as error:
            self.answer(command, FAILED, error=str(error))
        else:
            self.answer(command, DONE, {"offset": offset})

    def _reset_config(self, command, params, at_end):
        self._node.settings.clear()
        self._node.restart_after_replies()
        return DONE, None
