"""Two slots of Wi-Fi and broker credentials in NVS: those in force, and new ones on trial.

A slot is one blob, {"wifi": {"ssid", "password"}, "broker": {"host", "port", "user", "password"}}
or parts of that, so that a power cut leaves it as it was or as it shall be. It lies over node.json
and over what a cable brought to NVS; when those change, they win, and the slots are emptied. TLS
and its certificate are node.json's alone: nothing that is sent can take them away.

Loaded at the start of a node that has a slot, then forgotten; slottrial.py goes on with a trial.
"""

import json
from binascii import crc32

from fieldproto.jsonstrict import loads

from . import log
from .slottrial import KEPT, NONE, TRIAL, taken_back
from .trial import REVERT_BOOTS


def use(config, nvs):
    """Put into `config` what is in the slots.

    Returns (slot, why): what the slot in force becomes if the trial is won, as JSON, None without
    a trial; the alert that new credentials were given up, or None.
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
            nvs.set_str(TRIAL, NONE)
        elif not isinstance(boots, int) or boots >= REVERT_BOOTS:
            nvs.set_str(TRIAL, NONE)
            why = taken_back("%d starts brought no connection" % REVERT_BOOTS, won)
        else:
            trial["boots"] = boots + 1
            nvs.set_str(TRIAL, json.dumps(trial))
            _lay(config, trial)
            return json.dumps(won), None
    except OSError as error:  # a trial that cannot be counted might never end
        log.warning("NVS: %s" % error)
    return None, why


def _read(nvs, key, over):
    try:
        slot = loads((nvs.get_str(key) or NONE).encode())
        for part in (slot, slot.get("wifi", slot), slot.get("broker", slot)):
            part.items()
        if slot.get("over", over) == over:
            return slot
        log.warning("NVS: %s gives way to what a cable brought" % key)
    except (ValueError, AttributeError):
        log.warning("NVS: %s is damaged" % key)
    try:
        nvs.set_str(key, NONE)
    except OSError as error:
        log.warning("NVS: %s" % error)
    return {}


def _lay(config, slot):
    if "wifi" in slot:
        config["wifi"] = slot["wifi"]  # whole: a name without a password is an open network
    config["broker"].update(slot.get("broker", {}))
