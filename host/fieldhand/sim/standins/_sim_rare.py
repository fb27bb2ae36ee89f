"""Methods that nodes rarely call, see `_sim.Lean`."""

import _sim
import utime
from micropython import const

_PIN_SET = const(2)
_ADC = const(5)
_NVS_SET = const(16)
_WLAN = const(21)
_STATUS = const(3)
_SCAN = const(6)
_IFCONFIG = const(7)
_MAC = const(8)

# mV of a full reading, by attenuation.
_FULL = (1100, 1500, 2200, 3300)


def Pin_toggle(pin):
    _sim.call(_PIN_SET, pin._n, 2)


def ADC_init(adc, *, atten=0):
    adc.atten(atten)


def ADC_width(adc, bits):
    if not 9 <= bits <= 12:
        raise ValueError("invalid bits")
    adc._bits = bits


def ADC_read_uv(adc):
    return _sim.call(_ADC, adc._n, adc._atten) * _FULL[adc._atten] // 4095 * 1000


def Timer_value(timer):
    return utime.ticks_diff(utime.ticks_ms(), timer._start)


def NVS_erase_key(nvs, key):
    _sim.call(_NVS_SET, 2, 0, 0, nvs._key(key))


_hostname = "mpy-esp32"
_settings = {"reconnects": -1, "txpower": 20.0, "pm": 1, "channel": 6, "protocol": 7}


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


def WLAN_scan(wlan):
    found = []
    for entry in _sim.call(_WLAN, _SCAN).split(b"\n"):
        if entry:
            ssid, rssi = entry.split(b"\0")
            found.append((ssid, b"\x02\0\0\0\0\x01", 6, int(rssi), 3, False))
    return found


def WLAN_ifconfig(wlan, config=None):
    if config is None:
        return tuple(_sim.call(_WLAN, _IFCONFIG).decode().split())
    if config != "dhcp" and len(config) != 4:
        raise ValueError("invalid arguments")


def _need(wlan, interface):
    if wlan._ap != interface:
        raise OSError("AP required" if interface else "STA required")


def WLAN_config(wlan, *args, **kwargs):
    if kwargs:
        if args:
            raise TypeError("either pos or kw args are allowed")
        for key in kwargs:
            if key in ("hostname", "dhcp_hostname"):
                hostname(kwargs[key])
            elif key in ("ssid", "essid", "key", "password", "security", "authmode", "hidden"):
                _need(wlan, 1)
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
    if key not in _settings:
        raise ValueError("unknown config param")
    return _settings[key]
