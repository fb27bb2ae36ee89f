"""What the node is told: commands, carried out by `Actions` and answered here, and settings."""

from fieldproto.errors import MessageError

from . import log
from .actions import DONE, Actions
from .relay import Refused
from .sensors.base import SensorError

FAILED = "failed"


class Commands:
    """Carries out commands on `node` and answers each exactly as far as the dialect has words."""

    def __init__(self, node, clock):
        self._node = node
        self._clock = clock
        self.refused = 0  # messages
        self._calibrating = None  # (due ms, command, sensor, quantity)
        self.actions = Actions(node, self)

    def on_message(self, topic, payload, retained=False, dup=False):
        dialect = self._node.dialect
        try:
            records = dialect.decode(topic, payload, "node", self._node.id)
            if retained:
                error = MessageError(dialect.name, "command", "", "retained: may be stale")
                error.command = records[0].values.get("command")
                error.id = records[0].values.get("id")
                raise error
            for record in records:
                if record.kind == "command":
                    self.run(record.values, dialect.command(record.values["command"]).at_end)
                elif record.kind == "config":
                    self._configure(record.values)
        except MessageError as error:
            self._refuse(error)

    def on_oversize(self, topic, size):
        self.refused += 1
        log.warning("refused: %s: %d bytes are too many" % (topic, size))
        self._node.sender.status_due()

    def _configure(self, values):
        settings = {}
        for key in ("interval_ms", "keepalive_s", "calibration", "alerts"):
            if key in values:
                settings[key] = values[key]
        try:
            self._node.configuration.change(settings)
        except (Refused, ValueError, OSError) as error:
            raise MessageError(self._node.dialect.name, "config", "config", str(error))

    def _refuse(self, error):
        self.refused += 1
        log.warning("refused: %s" % error)
        self._node.sender.status_due()
        text = str(error)[:200]
        if error.message == "config":
            self._node.notices.append("alert", {"severity": "warning", "message": text})
        else:
            self.answer({"id": error.id, "command": error.command}, FAILED, None, text)

    def run(self, command, at_end=False):
        """Carry out a decoded command (`Record.values`); every outcome is answered.

        With `at_end` a run of an actuator is answered as accepted, and as done by `settle`.
        """
        action = getattr(self.actions, command["action"], None)
        try:
            if action is None:
                raise Refused("this node cannot %s" % command["action"])
            state, data = action(command, command["params"], at_end)
        except (Refused, SensorError, ValueError) as error:
            self.answer(command, FAILED, error=str(error))
        except OSError as error:
            self.answer(command, FAILED, error="hardware error %s" % error)
        except Exception as error:  # ours: a command may show a fault, not become one
            log.exception(error)
            self.answer(command, FAILED, error="internal error: %r" % error)
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
        """Answer a calibration that has ended, and let the relays note the end of their runs."""
        if self._calibrating is not None:
            self._settle_calibration()
        for relay in self._node.actuators:
            relay.step()

    def run_ended(self, relay):
        """Answer the command whose run has ended, if it was one's."""
        command, relay.command = relay.command, None
        if command is not None:
            reason = relay.ended
            data = {"ended": reason, "ran_ms": relay.ran_ms}
            if relay.ran_ml is not None:
                data["amount_ml"] = int(round(relay.ran_ml))
            done = reason not in ("dry run", "link lost", "timeout", "error")
            self.answer(command, DONE if done else FAILED, data, None if done else reason)

    def calibrate(self, command, sensor, quantity, reference):
        """Begin a calibration, which `settle` answers. Raises Refused, SensorError."""
        if self._calibrating is not None:
            raise Refused("another calibration is under way")
        ms = sensor.calibrate(quantity, reference)
        self._calibrating = (self._clock.ms() + ms, command, sensor, quantity)

    def _settle_calibration(self):
        due, command, sensor, quantity = self._calibrating
        if self._clock.ms() < due:
            return
        self._calibrating = None
        try:
            sensor.calibrated()
            offset, scale = sensor.calibration(quantity)
            keep = {quantity: {"offset": offset, "scale": scale}}
            self._node.configuration.settings.update({"calibration": keep})
        except (SensorError, ValueError, OSError) as error:
            self.answer(command, FAILED, error=str(error))
        else:
            self.answer(command, DONE, {"offset": offset})
