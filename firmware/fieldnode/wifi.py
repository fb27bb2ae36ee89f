"""Brings the station interface up, once per connect(); whoever owns the link decides on retries."""

from micropython import const

from .transport import LinkError

WIFI_MS = const(30000)  # scan, association, handshake and DHCP together
STALE_MS = const(8000)  # status() may still tell of the attempt before for this long
POLL_MS = const(100)

_IDLE = const(1000)
_CONNECTING = const(1001)
_GOT_IP = const(1010)
# What network.WLAN.status() says on an ESP32: the IDF's disconnect reasons.
_REASONS = {
    2: "authentication expired",
    15: "wrong password",
    200: "access point lost",
    201: "no access point of that name",
    202: "wrong password",
    203: "association refused",
    204: "wrong password",
    205: "connection failed",
    210: "access point with other security",
    211: "access point with weaker security",
    212: "signal too weak",
}


class Wifi:
    def __init__(self, wlan, ssid, password, clock):
        """`wlan`: a network.WLAN station. `clock` has the ticks of `time`."""
        self._wlan = wlan
        self._ssid = ssid
        self._password = password
        self._clock = clock
        self._since = 0
        self._before = _IDLE

    @property
    def up(self):
        """Whether the chip says so. It may say so for hours after the radio link died."""
        return self._wlan.isconnected()

    def connect(self):
        """Start an attempt; step() until `up`."""
        wlan = self._wlan
        self._since = self._clock.ticks_ms()
        try:
            wlan.active(True)
            # The chip's own endless retries would hide the reason from status().
            wlan.config(reconnects=0)
            wlan.disconnect()  # a second connect() is refused with "Wifi Internal Error"
            self._before = wlan.status()
            wlan.connect(self._ssid, self._password)
        except OSError as exc:
            self._fail("%s" % exc)

    def step(self):
        """Returns the ms to wait before asking again; raises LinkError when it will not come up."""
        if self.up:
            return POLL_MS
        status = self._wlan.status()
        waited = self._clock.ticks_diff(self._clock.ticks_ms(), self._since)
        if status not in (_IDLE, _CONNECTING, _GOT_IP):
            if status != self._before or waited >= STALE_MS:
                self._fail("%s (%d)" % (_REASONS.get(status, "failed"), status))
        if waited >= WIFI_MS:
            self._fail("no connection in %d ms" % WIFI_MS)
        return POLL_MS

    def reset(self):
        """Power the radio down; connect() starts it afresh."""
        try:
            self._wlan.disconnect()
            self._wlan.active(False)
        except OSError:
            pass  # connect() will say what is wrong

    def _fail(self, why):
        raise LinkError("Wi-Fi %s: %s" % (self._ssid, why))
