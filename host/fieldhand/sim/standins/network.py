"""`network` of the ESP32 port: the station. Being an access point is not simulated."""

import _sim
from micropython import const

STA_IF = const(0)
AP_IF = const(1)

_WLAN = const(21)
_ACTIVE = const(0)
_CONNECT = const(1)
_DISCONNECT = const(2)
_STATUS = const(3)
_ISCONNECTED = const(4)
_RSSI = const(5)


class WLAN(_sim.Lean):
    _reconnects = -1

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

    def config(self, *args, **kwargs):
        if not args and len(kwargs) == 1 and "reconnects" in kwargs:
            # The one setting our firmware makes; for the others there is more to load.
            WLAN._reconnects = kwargs["reconnects"]
            return None
        import _sim_wlan

        return _sim_wlan.config(self, *args, **kwargs)

    def status(self, param=None):
        if param is None:
            return None if self._ap else _sim.call(_WLAN, _STATUS)
        if param == "rssi" and not self._ap:
            return _sim.call(_WLAN, _RSSI)
        if param in ("rssi", "stations"):
            if not self._ap:
                raise OSError("AP required")
            if param == "rssi":
                raise OSError("STA required")
            return []
        raise ValueError("unknown status param")


def __getattr__(name):
    if name in ("hostname", "country"):
        import _sim_wlan as module
    else:
        import _sim_network as module
    return getattr(module, name)
