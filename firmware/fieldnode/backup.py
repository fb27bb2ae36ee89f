"""What is needed to connect, kept in NVS for the day that node.json cannot be read."""

import json

from . import log

# With the actuators' pins alone, to put them off.
KEYS = ("version", "node", "dialect", "options", "extras", "wifi", "broker")
_KEY = "backup"
_MAX = 1000  # bytes; an NVS buffer, see hal.py


def due(raw, nvs):
    """(NVS key, text) of the backup of node.json `raw`; None where NVS has it already."""
    kept = {key: raw[key] for key in KEYS if key in raw}
    pins = [{k: a[k] for k in ("pin", "active_low") if k in a} for a in raw.get("actuators", ())]
    if pins:
        kept["actuators"] = pins
    text = json.dumps(kept)
    if len(text.encode()) > _MAX:
        log.warning("node.json is too long for a backup: %d bytes" % len(text))
        return None
    return None if nvs.get_str(_KEY) == text else (_KEY, text)


def load(nvs):
    """What was kept of node.json, or None."""
    from fieldproto.jsonstrict import loads

    try:
        raw = loads((nvs.get_str(_KEY) or "").encode())
    except ValueError:
        return None
    return raw if isinstance(raw, dict) else None
