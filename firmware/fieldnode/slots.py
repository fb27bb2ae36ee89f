"""Two slots of Wi-Fi and broker credentials in NVS: those in force, and new ones on trial.

A slot is one blob, {"wifi": {"ssid", "password"}, "broker": {"host", "port", "user", "password"}}
or parts of that, so that a power cut leaves it as it was or as it shall be. It lies over node.json
and over what a cable brought to NVS; when those change, they win, and the slots are emptied. TLS
and its certificate are node.json's alone: nothing that is sent can take them away.
"""

import json
from binascii import crc32

from fieldproto.jsonstrict import loads

from . import log
from .trial import CONFIRM_MS, REVERT_BOOTS, REVERT_MS

KEPT = "net"
TRIAL = "net_trial"
_NONE = "{}"


def use(config, nvs):
    """Put into `config` what is in the slots.

    Returns (slot, why): what the slot in force becomes if the trial is won, None without a trial;
    the alert that new credentials were given up, or None.
    """
    wifi, broker = config["wifi"], config["broker"]
    below = [wifi.get("ssid"), wifi.get("password"), broker.get("host"), broker["port"]]
    below += [broker.get("user"), broker.get("password")]
    over = crc32(json.dumps(below).encode())
    kept = _read(nvs, KEPT, over)
    trial = _read(nvs, TRIAL, over)
    _lay(config, kept)
    if not trial:
        return None, None
    boots = trial.pop("boots", 0)
    trial["over"] = over
    won = dict(kept)
    won.update(trial)
    won["broker"] = dict(kept.get("broker", {}))
    won["broker"].update(trial.get("broker", {}))
    why = None
    try:
        if won == kept:  # the power went while they were put in force
            nvs.set_str(TRIAL, _NONE)
        elif not isinstance(boots, int) or boots >= REVERT_BOOTS:
            nvs.set_str(TRIAL, _NONE)
            why = _taken_back("%d starts brought no connection" % REVERT_BOOTS, won)
        else:
            trial["boots"] = boots + 1
            nvs.set_str(TRIAL, json.dumps(trial))
            _lay(config, trial)
            return won, None
    except OSError as error:  # a trial that cannot be counted might never end
        log.warning("NVS: %s" % error)
    return None, why


def _read(nvs, key, over):
    try:
        slot = loads((nvs.get_str(key) or _NONE).encode())
        for part in (slot, slot.get("wifi", slot), slot.get("broker", slot)):
            part.items()
        if slot.get("over", over) == over:
            return slot
        log.warning("NVS: %s gives way to what a cable brought" % key)
    except (ValueError, AttributeError):
        log.warning("NVS: %s is damaged" % key)
    try:
        nvs.set_str(key, _NONE)
    except OSError as error:
        log.warning("NVS: %s" % error)
    return {}


def _lay(config, slot):
    if "wifi" in slot:
        config["wifi"] = slot["wifi"]  # whole: a name without a password is an open network
    config["broker"].update(slot.get("broker", {}))


def _taken_back(why, slot):
    names = [slot.get("wifi", {}).get("ssid"), slot["broker"].get("host")]
    names = ", ".join([name for name in names if name])
    text = "credentials taken back: %s with those of %s" % (why, names)
    log.warning(text)
    return {"severity": "warning", "message": text[:200]}


class Trial:
    """A part of the node, see there, and the last of them, for it takes itself away when won.

    Without a connection that holds it takes the new credentials back by a restart, for which a
    running pump is waited for.
    """

    def __init__(self, node, clock, nvs, won):
        """`won`: see `use`."""
        self._node = node
        self._clock = clock
        self._nvs = nvs
        self._won = won
        self._began_ms = clock.ms()

    def step(self):
        node, link = self._node, self._node.link
        if node.restarting:
            return  # perhaps to try others
        if link.up:
            if link.up_ms >= CONFIRM_MS:
                self._keep()
        elif self._clock.ms() - self._began_ms >= REVERT_MS:
            if not node.running:
                self._give_up(link.failure)

    def _keep(self):
        self._node.parts.remove(self)
        try:
            self._nvs.set_str(KEPT, json.dumps(self._won))  # first: there is no moment without
            self._nvs.set_str(TRIAL, _NONE)
        except OSError as error:  # then the next start has the same to prove
            log.warning("NVS: %s" % error)
            return
        log.info("the new credentials have proved themselves")
        self._node.notices.append("event", {"event": "credentials", "what": "kept"})

    def _give_up(self, why):
        try:
            self._nvs.set_str(TRIAL, _NONE)
        except OSError as error:  # then the count of the starts ends it
            log.warning("NVS: %s" % error)
        why = why or "no connection held for %d s" % (CONFIRM_MS // 1000)
        self._node.notices.append("alert", _taken_back(why, self._won))
        self._node.restart_after_replies()

    def on_reading(self, ms, values):
        pass

    def report(self, status):
        status["credentials"] = "on trial"
