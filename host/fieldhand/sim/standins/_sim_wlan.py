"""`network.WLAN.config` and what it shares with `network.hostname`."""

import _sim
from micropython import const

_WLAN = const(21)
_STATUS = const(3)
_MAC = const(8)

_hostname = "mpy-esp32"
_settings = {"txpower": 20.0, "pm": 1, "channel": 6, "protocol": 7}


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    if len(name) > 32:
        raise ValueError
    _hostname = name


_country = "XX"


def country(code=None):
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code


def _need(wlan, interface):
    if wlan._ap != interface:
        raise OSError("AP required" if interface else "STA required")


def config(wlan, *args, **kwargs):
    if kwargs:
        if args:
            raise TypeError("either pos or kw args are allowed")
        for key in kwargs:
            if key in ("hostname", "dhcp_hostname"):
                hostname(kwargs[key])
            elif key in ("ssid", "essid", "key", "password", "security", "authmode", "hidden"):
                _need(wlan, 1)
            elif key == "reconnects":
                type(wlan)._reconnects = kwargs[key]
            elif key == "mac" or key in _settings:
                _settings[key] = kwargs[key]
            else:
                raise ValueError("unknown config param")
        return
    if len(args) != 1:
        raise TypeError("can query only one param")
    key = args[0]
    if key == "mac":
        return _settings.get("mac") or _sim.call(_WLAN, _MAC)
    if key in ("ssid", "essid"):
        return _sim.call(_WLAN, _STATUS, 1).decode()
    if key in ("hostname", "dhcp_hostname"):
        return _hostname
    if key in ("hidden", "security", "authmode"):
        _need(wlan, 1)
    if key == "reconnects":
        return wlan._reconnects
    if key not in _settings:
        raise ValueError("unknown config param")
    return _settings[key]
