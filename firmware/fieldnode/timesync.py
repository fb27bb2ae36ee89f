"""Asks the network for the time, where it is unknown or old."""

from micropython import const

from . import log

_RETRY_MS = const(60000)
_RETRY_MAX_MS = const(3600000)
_MAX_AGE_MS = const(86400000)  # a crystal of 20 ppm is 2 s off after a day


class TimeSync:
    """`host` is the NTP server; the Hal knows how to ask it. `needed`: without the time there is
    no connection, because certificates are checked."""

    def __init__(self, clock, hal, host, needed=False):
        self._clock = clock
        self._hal = hal
        self._host = host
        self._needed = needed
        self._next_ms = 0
        self._retry_ms = _RETRY_MS

    def step(self):
        """Call it while Wi-Fi is up. Takes seconds at worst."""
        clock = self._clock
        now = clock.ms()
        if now < self._next_ms or clock.synced() and clock.age_ms() < _MAX_AGE_MS:
            return
        try:
            epoch = self._hal.ntp_time(self._host)
        except OSError as error:
            # Each attempt holds the loop up: where there is no time server, ever more rarely.
            self._next_ms = now + self._retry_ms
            if clock.known() or not self._needed:
                self._retry_ms = min(self._retry_ms * 2, _RETRY_MAX_MS)
            log.warning("no time from %s: %s" % (self._host, error))
            return
        clock.set(epoch)
        self._retry_ms = _RETRY_MS
        log.info("time set")
        try:
            self._hal.set_clock(epoch)
        except OSError as error:
            log.warning("NVS: the chip's clock stays wrong: %s" % error)
