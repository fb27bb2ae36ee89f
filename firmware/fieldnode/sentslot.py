"""Wi-Fi and broker credentials that are sent to the node, to be tried: see slots.py."""

import json
from ssl import CERT_REQUIRED

from .relay import Refused

MAX = 900  # bytes; an NVS buffer, see hal.py, less the count of the starts
# Part -> key -> characters at most. What is absent or null is none.
_KEYS = {
    "wifi": {"ssid": 32, "password": 63},
    "broker": {"host": 253, "user": 256, "password": 256},
}


def take(node, sent):
    """Put `sent` on trial, by a restart. Raises Refused, and OSError when NVS takes it not."""
    # Else whoever listens has the Wi-Fi's password, or poses as the broker that sends them.
    if not node.session.ssl or node.session.ssl.verify_mode != CERT_REQUIRED:
        raise Refused("credentials are taken over TLS with a checked certificate only")
    for part in sent:
        if part not in _KEYS or not isinstance(sent[part], dict):
            raise Refused("credentials: %s is not wifi or broker" % part)
        for key in sent[part]:
            value = sent[part][key]
            if part == "broker" and key == "port":
                good = type(value) is int and 0 < value < 65536
            else:
                most = _KEYS[part].get(key, -1)
                good = value is None or isinstance(value, str) and len(value.encode()) <= most
            if not good or value is None and key in ("ssid", "host"):
                raise Refused("credentials: %s.%s is not one" % (part, key))
    if not sent or "wifi" in sent and not sent["wifi"].get("ssid"):
        raise Refused("credentials: wifi.ssid is required")
    text = json.dumps(sent)
    if len(text.encode()) > MAX:
        raise Refused("credentials: over %d bytes" % MAX)
    node.nvs("fieldhand").set_str("net_trial", text)
    node.restart_after_replies()
