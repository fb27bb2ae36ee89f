"""What the node is told: commands, carried out by `Actions` and answered here, and settings."""

import gc

from micropython import const

from fieldproto.errors import MessageError

from . import log
from .ledger import Ledger
from .memory import forget, load
from .notices import LIMIT
from .relay import Refused
from .sensors.base import SensorError

_MUTE_FROM = const(16)  # answers that wait: from here on what is refused is only counted
_ACTING = ("admission", "safemode", "change", "trial", "actions", "sentslot")
_IDLE_MS = const(5000)  # after the last message: then what it needed is forgotten
ACCEPTED = "accepted"
DONE = "done"
FAILED = "failed"


class Commands:
    """Carries out commands on `node` and answers each exactly as far as the dialect has words.

    A command with an id is carried out once: the ledger answers it when it comes again. `cause`
    is why the node started, and with that why a command of the last boot was cut off.
    """

    def __init__(self, node, clock, cause):
        self._node = node
        self._clock = clock
        self.refused = 0  # messages
        self._calibrating = None  # (due ms, command, sensor, quantity)
        self.safe = False  # safe mode: only what configures the node or restarts it
        self._forget_ms = 0  # what the start has loaded
        self._ledger = Ledger()
        self._cut = "cut off by a reset of the node: %s" % cause
        for id, name in self._ledger.cut:
            self.answer({"id": id, "command": name}, FAILED, error=self._cut)

    def on_message(self, topic, payload, retained=False, dup=False):
        self._forget_ms = self._clock.ms() + _IDLE_MS
        try:
            self._take(topic, payload, retained, dup)
            forget("fieldnode", *_ACTING)
        except Exception as error:  # no payload may end the node; what is loaded for it needs room
            self.refused += 1
            log.exception(error)
            self._forget()

    def _take(self, topic, payload, retained, dup):
        dialect = self._node.dialect
        # One thing after the other: there is not room for all that a message needs.
        try:
            payload = load("fieldproto.jsonstrict").loads(payload)
        except ValueError:
            pass  # decoding says of what message
        forget("fieldproto", "jsonstrict")
        gc.collect()
        dialect.fill()
        gc.collect()
        try:
            records = dialect.decode(topic, payload, "node", self._node.id)
            forget("fieldproto", "decoding", "jsonstrict")
            gc.collect()
            for record in records:
                values = record.values
                if record.kind == "command":
                    command = dialect.command(values["command"])
                    self.run(values, command and command.at_end, retained, dup)
                elif record.kind == "config":
                    admission = load("fieldnode.admission")
                    why = admission.stale(values, retained, self._clock.epoch())
                    why = why or admission.restarting(self._node)
                    if why:
                        raise MessageError(dialect.name, "config", "", why)
                    self._configure(values)
        except MessageError as error:
            self._refuse(error)

    def on_oversize(self, topic, size):
        found = self._node.dialect.match(topic)
        name = found[0][0].name if found else "?"
        text = "%d bytes are too many" % size
        self._refuse(MessageError(self._node.dialect.name, name, "", text))

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
        node = self._node
        kind = error.message
        for message in node.dialect.messages:
            if message.name == kind:
                kind = message.kind
                break
        text = str(error)[:200]
        if kind == "config":
            node.notices.append("alert", {"severity": "warning", "message": text})
        elif kind == "command" and self._room():
            self._reply({"id": error.id, "command": error.command}, FAILED, None, text)
        else:
            node.sender.status_due()

    def _room(self):
        """Whether a refusal may be told: it pushes out no alert that waits to be told."""
        notices = self._node.notices
        return notices.replies() < _MUTE_FROM and len(notices) < LIMIT

    def run(self, command, at_end=False, retained=False, dup=False):
        """Carry out a decoded command (`Record.values`); every outcome is answered.

        With `at_end` a run of an actuator is answered as accepted, and as done at its end.
        """
        admission = load("fieldnode.admission")
        try:
            answer = self._ledger.find(command)
            why = admission.stale(command, retained, self._clock.epoch())
            why = why or admission.unfit(command, dup, self._node)
        except ValueError as error:
            answer, why = None, str(error)
        if answer:
            self._again(command, answer)
        elif why:
            error = MessageError(self._node.dialect.name, "command", "", why)
            error.command, error.id = command["command"], command["id"]
            self._refuse(error)
        else:
            self._carry_out(command, at_end)

    def _carry_out(self, command, at_end):
        state, data, why = FAILED, None, None
        try:
            state, data = self._act(command, at_end)
        except (Refused, SensorError, ValueError) as error:
            why = str(error)
        except OSError as error:
            why = "hardware error %s" % error
        except Exception as error:  # ours: a command may show a fault, not become one
            log.exception(error)
            why = "internal error: %r" % error
        forget("fieldnode", *_ACTING)  # room for the answer
        gc.collect()
        if state is not None:
            self.answer(command, state, data, why)

    def _act(self, command, at_end):
        actions = load("fieldnode.safemode" if self.safe else "fieldnode.actions")
        action = getattr(actions.Actions(self._node, self), command["action"], None)
        if action is None:
            raise Refused("this node cannot %s" % command["action"])
        self._note(command)
        return action(command, command["params"], at_end)

    def _note(self, command):
        try:
            self._ledger.begin(command)
        except OSError as error:
            if not load("fieldnode.admission").switches_off(command):
                raise Refused("not carried out, for it cannot be noted: %s" % error)

    def _again(self, command, answer):
        state, data, error = answer
        if state is None:
            if command["id"] in self._ledger.open:
                return  # its answer is still to come
            state, error = FAILED, self._cut
        if self._room():
            self._reply(command, state, data, error)

    def answer(self, command, state, data=None, error=None):
        """Queue the reply to `command`, and keep it for when the command comes again."""
        if command.get("id") is not None:
            try:
                self._ledger.answered(command["id"], state, data, error, state != ACCEPTED)
            except OSError as failed:
                log.warning("the answer is not kept: %s" % failed)
        self._reply(command, state, data, error)

    def _reply(self, command, state, data, error):
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
        if self._calibrating is not None and not self._node.restarting:  # perhaps to forget it
            self._settle_calibration()
        if self._forget_ms is None:
            if self._node.dialect.full:  # for an answer that waited
                self._forget_ms = self._clock.ms() + _IDLE_MS
        elif self._clock.ms() >= self._forget_ms:
            self._forget()
        for relay in self._node.actuators:
            relay.step()

    def _forget(self):
        self._forget_ms = None
        forget("fieldnode", *_ACTING)
        forget("fieldproto", "decoding", "jsonstrict", "calibration", "bands")
        dialect = self._node.dialect
        dialect.slim()
        forget("fieldproto.dialects", dialect.name, dialect.name + "_down")

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
            self._node.configuration.apply()  # what cannot be kept is not in force
            self.answer(command, FAILED, error=str(error))
        else:
            self.answer(command, DONE, {"offset": offset})
