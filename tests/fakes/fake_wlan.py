"""A network.WLAN station as the ESP32 has it, in virtual time: slow, and stale in what it says."""

IDLE = 1000
CONNECTING = 1001
GOT_IP = 1010

NO_AP = 201
WRONG_PASSWORD = 202
HANDSHAKE_TIMEOUT = 204


class FakeWlan:
    """`outcome`: status the next attempts end in after `takes_ms`; None: they never end."""

    def __init__(self, time):
        self.outcome = GOT_IP
        self.takes_ms = 3000
        self.calls = []
        self._time = time
        self._active = False
        self._asked = None  # virtual ms of connect()
        self._reason = IDLE
        self._connected = False

    def active(self, on=None):
        if on is not None:
            self.calls.append("active %d" % on)
            self._active = bool(on)
            if not on:
                self.lose()
        return self._active

    def config(self, **settings):
        assert self._active, "config() before active(True)"
        self.calls.append("config %s" % sorted(settings.items()))

    def disconnect(self):
        if not self._active:
            raise OSError("Wifi Not Started")
        self.calls.append("disconnect")
        self._asked = None
        self._connected = False

    def connect(self, ssid, password):
        if self._asked is not None:
            raise OSError("Wifi Internal Error")
        self.calls.append("connect %s %s" % (ssid, password))
        self._asked = self._time.passed

    def _look(self):
        if self._asked is None or self._connected or self.outcome is None:
            return
        if self._time.passed - self._asked >= self.takes_ms:
            self._connected = self.outcome == GOT_IP
            self._reason = self.outcome

    def isconnected(self):
        self._look()
        return self._connected

    def status(self):
        self._look()
        if self._connected:
            return GOT_IP
        # The reason of the attempt before outlives the start of the next one.
        if self._reason not in (IDLE, GOT_IP):
            return self._reason
        return IDLE if self._asked is None else CONNECTING

    def lose(self):
        """The access point is gone, and the chip has noticed."""
        self._connected = False
        self._asked = None
        self._reason = 200
