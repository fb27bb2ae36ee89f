"""What the world sends to a node: commands good and bad, settings, and the same once more."""

import json

from .fleet import ORG
from .world import HOUR, MINUTE, Dice

_MEAN_MS = 6 * MINUTE
_OVERSIZE = 3000


class Sent:
    """One command. `kind`: "pump" puts an actuator on, "other" does not, "bad" must be refused."""

    def __init__(self, name, topic, payload, kind, at):
        self.id = name
        self.topic = topic
        self.payload = payload
        self.kind = kind
        self.at = at
        self.lease_ms = 0
        self.retain = False
        self.restarts = False
        self.read = 0  # times the node got it
        self.read_at = 0
        self.retained_now = False  # and the last time as a retained one
        self.acked = False
        self.starts = self.answers = 0
        self.failed = False
        self.excused = False  # a power cut or reset came in between

    def __str__(self):
        return "%s %s (%s)" % (self.id or "a command without id", self.payload[:90], self.kind)


class Traffic:
    def __init__(self, world, broker, model, spec):
        self.world = world
        self.broker = broker
        self.model = model
        self.spec = spec
        self.on = True
        self.dice = Dice(world.seed, 4)
        self._n = 0
        self._last = []
        self._make = getattr(self, "_" + spec.dialect)
        world.after(self.dice.wait(_MEAN_MS), self._next)

    def _next(self, _):
        if not self.on:
            return
        dice = self.dice
        self.world.after(dice.wait(_MEAN_MS), self._next)
        if self._last and dice.one_in(6):
            sent = dice.pick(self._last)  # somebody's retry: the same command, the same id
            if sent.id:
                self.model.resent += 1
                self.broker.publish(sent)
            return
        self._n += 1
        sent = self._make(dice, "c%d-%d" % (self.world.seed, self._n))
        self.model.on_command_sent(sent)
        self.broker.publish(sent)
        if sent.retain:
            self.world.after(dice.between(MINUTE, HOUR), self._unretain, sent)
        elif sent.kind != "bad":
            self._last.append(sent)
            if len(self._last) > 8:
                self._last.pop(0)
        if dice.one_in(8):  # twice at once, as a client that lost its PUBACK does
            self.broker.publish(sent)

    def _unretain(self, sent):
        if self.broker.retained.get(sent.topic) is sent:
            del self.broker.retained[sent.topic]

    def _sent(self, name, topic, obj, kind, lease_ms=0):
        if not isinstance(obj, bytes):
            obj = json.dumps(obj).encode()
        sent = Sent(name, topic, obj, kind, self.world.now)
        sent.lease_ms = lease_ms
        return sent

    def _bad(self, dice, topic, good):
        """Spoil a good command that would start something."""
        how = dice.below(7)
        text = json.dumps(good)
        if how == 0:
            return self._sent(None, topic, text[: dice.between(1, len(text) - 1)].encode(), "bad")
        if how == 1:
            return self._sent(None, topic, dict(good, unheard_of=1), "bad")
        if how == 2:
            return self._sent(None, topic, dict(good, x="y" * _OVERSIZE), "bad")
        if how == 3:
            return self._sent(None, topic.replace("n1", "n2"), good, "bad")
        if how == 4:
            return self._sent(None, topic, b"\xff\xfe" + text.encode(), "bad")
        if how == 5:
            return self._sent(None, topic, [good], "bad")
        return self._sent(None, topic, b"", "bad")

    def _plantnanny(self, dice, name):
        topic = "devices/n1/command"
        ext = {"id": name}
        what = dice.below(16)
        lease = dice.between(500, 20000)
        pump = {"action": "pump_water", "durationMs": lease, "_fh": ext}
        if what < 7:
            retain = dice.one_in(5)
            if retain and dice.bits(1):
                name = None  # so that only the flag tells it from a new one
                del pump["_fh"]
            sent = self._sent(name, topic, pump, "pump", lease)
            sent.retain = retain
            return sent
        if what < 9:
            amount = dice.between(10, 300)
            pump = {"action": "pump_water", "amountMl": amount, "_fh": ext}
            return self._sent(name, topic, pump, "pump", amount * 1000 // 25)
        if what == 9:
            return self._sent(name, topic, {"action": "send_now", "_fh": ext}, "other")
        if what == 10:
            ms = dice.pick((20000, 30000, 30000, 45000))
            obj = {"action": "set_interval", "intervalMs": ms, "_fh": ext}
            return self._sent(name, topic, obj, "other")
        if what == 11 and dice.one_in(4) and not self.world.calm():
            sent = self._sent(name, topic, {"action": "restart", "_fh": ext}, "other")
            sent.restarts = True
            return sent
        if what == 12:
            too_long = {"action": "pump_water", "durationMs": 60001, "_fh": ext}
            return self._sent(name, topic, too_long, "bad")
        return self._bad(dice, topic, {"action": "pump_water", "durationMs": lease})

    def _solar(self, dice, name):
        topic = "company/acme/machine/n1/command"
        ext = {"id": name}
        start = {"command": "start_cleaning", "params": {"speed": 50, "mode": "auto"}, "_fh": ext}
        what = dice.below(10)
        if what < 3:
            sent = self._sent(name, topic, start, "pump")
            sent.retain = dice.one_in(5)
            return sent
        if what < 7:
            return self._sent(name, topic, {"command": "stop_cleaning", "_fh": ext}, "other")
        return self._bad(dice, topic, {"command": "start_cleaning"})

    def _dese(self, dice, name):
        what = dice.below(20)
        base = "devices/" + ORG + "/n1/"
        now = self._iso()
        if what < 3:
            band = {"min": dice.between(3, 5), "max": dice.between(9, 11)}
            config = {
                "telemetry_interval": dice.pick((20000, 30000, 45000)),
                "mqtt_keepalive": dice.pick((30, 60, 120)),
                "alert_thresholds": {"temperature": band},
            }
            obj = {"device_id": "n1", "config": config, "timestamp": now}
            if dice.one_in(3):
                config["telemetry_interval"] = 5  # refused whole
            return self._sent(None, base + "config", obj, "other")
        command, params, kind, lease = "reboot", {}, "other", 0
        if what < 10:
            seconds = dice.between(1, 200)
            command, kind, lease = "set_pump", "pump", seconds * 1000
            params = {"pump_id": 1, "state": "on", "duration": seconds}
        elif what < 12:
            command, params = "set_pump", {"pump_id": 1, "state": "off"}
        elif what < 14:
            command, params = "set_ph_target", {"target_ph": 7.2}
        elif what == 14 and not self.world.calm():
            command = dice.pick(("reset_config", "reboot"))
        elif what == 16:
            command, kind = "set_pump", "bad"
            params = {"pump_id": 9, "state": "on", "duration": 5}
        else:
            params = {"pump_id": 1, "state": "on", "duration": 5}
            good = {
                "command_id": name,
                "device_id": "n1",
                "command": "set_pump",
                "parameters": params,
                "timestamp": now,
            }
            return self._bad(dice, base + "commands", good)
        obj = {
            "command_id": name,
            "device_id": "n1",
            "command": command,
            "parameters": params,
            "timestamp": now,
        }
        sent = self._sent(name, base + "commands", obj, kind, lease)
        sent.restarts = command in ("reboot", "reset_config")
        sent.retain = kind == "pump" and dice.one_in(5)
        return sent

    def _iotnode(self, dice, name):
        topic = "iot/node/n1/command"
        state = dice.pick(("on", "off"))
        obj = {"command": "set_led", "params": {"state": state}, "_fh": {"id": name}}
        if dice.one_in(4):
            return self._bad(dice, topic, obj)
        return self._sent(name, topic, obj, "other")

    def _farm(self, dice, name):
        topic = "farm/n1/commands"
        what = dice.below(10)
        device = dice.pick(("irrigation", "fertilization"))
        obj = {"type": "ACTUATE", "device": device, "state": 1, "timestamp": self._iso()}
        obj["_fh"] = {"id": name}
        if what < 5:
            return self._sent(name, topic, obj, "pump", 120000 if device == "irrigation" else 60000)
        if what < 8:
            return self._sent(name, topic, dict(obj, state=0), "other")
        return self._bad(dice, topic, obj)

    def _iso(self):
        seconds = self.world.epoch()
        days, rest = divmod(seconds, 86400)
        year, month, day = civil(days)
        return "%04d-%02d-%02dT%02d:%02d:%02dZ" % (
            year,
            month,
            day,
            rest // 3600,
            rest // 60 % 60,
            rest % 60,
        )


def civil(days):
    """(year, month, day) of the days since 1970."""
    z = days + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    return yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) // 5 + 1
