"""Who this node is, and the secrets that are not in a file: NVS namespace "fieldhand"."""

import os
from binascii import hexlify

from . import log

NAMESPACE = "fieldhand"
SECRETS_FILE = "secrets.json"  # see `fieldhand build`
# Section and key of node.json -> NVS key (15 characters at most).
_SECRETS = (
    ("wifi", "ssid", "wifi_ssid"),
    ("wifi", "password", "wifi_pass"),
    ("broker", "user", "mqtt_user"),
    ("broker", "password", "mqtt_pass"),
)


def node_id(config, nvs, mac):
    """The node's id: node.json's; NVS's; or made once from the MAC (`mac`, 6 bytes).

    `"node": "uuid"` asks for a random UUID, made once and kept in NVS.
    """
    name = config.get("node")
    if name and name != "uuid":
        return name
    stored = nvs.get_str("id")
    if stored:
        return stored
    if name != "uuid":
        return "esp32-" + hexlify(mac).decode()
    made = _uuid4()
    nvs.set_str("id", made)
    return made


def adopt_secrets(nvs, path=SECRETS_FILE):
    """Move what a cable brought in `path` into NVS, and remove the file. Raises OSError."""
    try:
        with open(path, "rb") as file:
            from fieldproto.jsonstrict import loads  # the usual case: there is no such file

            secrets = loads(file.read())
    except OSError:
        return
    except ValueError:
        log.warning("%s is damaged: it is left alone" % path)
        return
    for key in ("id", "wifi_ssid", "wifi_pass", "mqtt_user", "mqtt_pass"):
        if isinstance(secrets.get(key), str):
            nvs.set_str(key, secrets[key])
    os.remove(path)
    log.info("%s is in NVS now" % path)


def fill_secrets(config, nvs):
    """Put what NVS knows where node.json (checked) is silent."""
    for section, key, nvs_key in _SECRETS:
        part = config.setdefault(section, {})
        if part.get(key) is None:
            value = nvs.get_str(nvs_key)
            if value is not None:
                part[key] = value


def next_boot(nvs, least=0):
    """(number, random 16 bits) of this boot: one more than NVS counted and than `least`.

    Where both are lost the random half tells it from earlier ones.
    """
    number = least
    try:
        number = max(least, int(nvs.get_str("boot") or 0))
    except ValueError:
        log.warning("NVS: boot is not a number")
    try:
        nvs.set_str("boot", str(number + 1))
    except OSError as error:
        log.warning("NVS: %s" % error)
    return number + 1, int.from_bytes(os.urandom(2), "big")


def _uuid4():
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40  # RFC 9562: version 4, variant 10
    raw[8] = raw[8] & 0x3F | 0x80
    text = hexlify(raw).decode()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
