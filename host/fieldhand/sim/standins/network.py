"""`network` of the ESP32 port: the station. Being an access point is not simulated."""

import _sim
from micropython import const

STA_IF = const(0)
AP_IF = const(1)
STAT_IDLE = const(1000)
STAT_CONNECTING = const(1001)
STAT_GOT_IP = const(1010)
STAT_BEACON_TIMEOUT = const(200)
STAT_NO_AP_FOUND = const(201)
STAT_WRONG_PASSWORD = const(202)
STAT_ASSOC_FAIL = const(203)
STAT_HANDSHAKE_TIMEOUT = const(204)
AUTH_OPEN = const(0)
AUTH_WPA2_PSK = const(3)

_WLAN = const(21)
_ACTIVE = const(0)
_CONNECT = const(1)
_DISCONNECT = const(2)
_STATUS = const(3)
_ISCONNECTED = const(4)
_RSSI = const(5)
_SCAN = const(6)
_IFCONFIG = const(7)
_MAC = const(8)

_hostname = "mpy-esp32"
_country = "XX"


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    if len(name) > 32:
        raise ValueError
    _hostname = name


def country(code=None):
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code


class WLAN:
    IF_STA = 0
    IF_AP = 1
    SEC_OPEN = 0
    SEC_WPA2 = 3
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _settings = {"reconnects": -1, "txpower": 20.0, "pm": 1, "channel": 6, "protocol": 7}

    def __init__(self, interface=0):
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        self._ap = interface

    def active(self, on=None):
        if self._ap:
            return False
        return bool(_sim.call(_WLAN, _ACTIVE, -1 if on is None else bool(on)))

    def connect(self, ssid=None, key=None, *, bssid=None):
        data = None
        if ssid is not None:
            data = _sim.data(ssid)[:32] + b"\0"
            if key is not None:
                data += _sim.data(key)[:64]
        _sim.call(_WLAN, _CONNECT, 0, 0, data)

    def disconnect(self):
        _sim.call(_WLAN, _DISCONNECT)

    def isconnected(self):
        return not self._ap and bool(_sim.call(_WLAN, _ISCONNECTED))

    def status(self, param=None):
        if param is None:
            return None if self._ap else _sim.call(_WLAN, _STATUS)
        if param == "rssi":
            self._need(STA_IF)
            return _sim.call(_WLAN, _RSSI)
        if param == "stations":
            self._need(AP_IF)
            return []
        raise ValueError("unknown status param")

    def scan(self):
        found = []
        for entry in _sim.call(_WLAN, _SCAN).split(b"\n"):
            if entry:
                ssid, rssi = entry.split(b"\0")
                found.append((ssid, b"\x02\0\0\0\0\x01", 6, int(rssi), 3, False))
        return found

    def ifconfig(self, config=None):
        if config is None:
            return tuple(_sim.call(_WLAN, _IFCONFIG).decode().split())
        if config != "dhcp" and len(config) != 4:
            raise ValueError("invalid arguments")

    def config(self, *args, **kwargs):
        if kwargs:
            if args:
                raise TypeError("either pos or kw args are allowed")
            for key in kwargs:
                if key in ("hostname", "dhcp_hostname"):
                    hostname(kwargs[key])
                elif key in ("ssid", "essid", "key", "password", "security", "authmode", "hidden"):
                    self._need(AP_IF)
                elif key == "mac" or key in self._settings:
                    self._settings[key] = kwargs[key]
                else:
                    raise ValueError("unknown config param")
            return
        if len(args) != 1:
            raise TypeError("can query only one param")
        key = args[0]
        if key == "mac":
            return self._settings.get("mac") or _sim.call(_WLAN, _MAC)
        if key in ("ssid", "essid"):
            return _sim.call(_WLAN, _STATUS, 1).decode()
        if key in ("hostname", "dhcp_hostname"):
            return _hostname
        if key in ("hidden", "security", "authmode"):
            self._need(AP_IF)
        if key not in self._settings:
            raise ValueError("unknown config param")
        return self._settings[key]

    def _need(self, interface):
        if self._ap != interface:
            raise OSError("AP required" if interface else "STA required")
