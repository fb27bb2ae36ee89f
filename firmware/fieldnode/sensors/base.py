"""What every sensor has in common: timing, range, calibration and the one error."""

from micropython import const

# A reading fetched later than this after it was due says nothing about now.
_STALE_MS = const(60000)

_ERRNO = {5: "bus error", 19: "no answer", 110: "timed out", 116: "timed out"}


class SensorError(Exception):
    """A sensor gave no reading that can be believed.

    Attributes: `sensor` (its name, "dht22@4"), `reason`.
    """

    def __init__(self, sensor, reason):
        super().__init__("%s: %s" % (sensor, reason))
        self.sensor = sensor
        self.reason = reason


class Sensor:
    """A device that measures one or more quantities.

    A driver sets `limits` (quantity -> (lo, hi), its datasheet's) and implements `_start()`,
    which returns the milliseconds until `_read()` may be called, and `_read()`, which returns
    the raw values in the order of `measures`. Both reach the bus through `_bus()`.
    """

    limits = {}

    def __init__(self, name, measures, clock):
        self.name = name
        self.measures = measures
        self.quantities = measures
        self._clock = clock
        self.bounds = None  # quantity -> (lo, hi) that can be; None: not yet looked up
        self._calibration = {}
        self._last = None
        self._began = None
        self._wait = 0

    def start(self):
        """Begin a reading; returns the ms until `read()` is valid, 0 if at once.

        Raises SensorError.
        """
        self._began = None
        wait = self._start()
        # Ticks are truncated: n of them may be little more than n - 1 ms.
        self._wait = wait + 1 if wait else 0
        self._began = self._clock.ticks_ms()
        return self._wait

    def read(self):
        """The reading begun by `start()`: a list of (quantity, value), canonical units.

        Raises SensorError, also when it is too early, too late or a second time.
        """
        if self._began is None:
            raise SensorError(self.name, "read without start")
        waited = self._since(self._began)
        if 0 <= waited < self._wait:
            raise SensorError(self.name, "not ready for another %d ms" % (self._wait - waited))
        self._began = None
        if not 0 <= waited - self._wait <= _STALE_MS:
            raise SensorError(self.name, "stale, begun %d ms ago" % waited)
        raw = self._read()
        for i, quantity in enumerate(self.measures):
            self._in_range(quantity, raw[i], self.limits.get(quantity))
        self._last = raw
        found = []
        for i, quantity in enumerate(self.measures):
            if quantity in self.quantities:
                found.append((quantity, self._calibrated(quantity, raw[i])))
        return found

    def apply_calibration(self, quantity, offset=0, scale=1):
        """Report `raw * scale + offset` from now on; raises ValueError, SensorError."""
        from fieldproto.calibration import check_calibration  # rare

        self._known(quantity)
        check_calibration({"offset": offset, "scale": scale}, self.name + "." + quantity)
        self._calibration[quantity] = (offset, scale)

    def calibration(self, quantity):
        """(offset, scale) in use for `quantity`."""
        return self._calibration.get(quantity, (0, 1))

    def calibrate(self, quantity, reference):
        """Make the last reading equal `reference`; returns the ms until `calibrated()` may be
        asked. Raises SensorError. Here: by the offset, which the caller may keep.
        """
        self._known(quantity)
        if self._last is None:
            raise SensorError(self.name, "nothing read yet to calibrate against")
        scale = self.calibration(quantity)[1]
        raw = self._last[self.measures.index(quantity)]
        self.apply_calibration(quantity, reference - raw * scale, scale)
        return 0

    def calibrated(self):
        """Raises SensorError when the device refused the last `calibrate()`."""

    def compensate(self, celsius):
        """Tell the device the temperature of what it measures; most do not care."""

    def _known(self, quantity):
        if quantity not in self.measures:
            raise SensorError(self.name, "does not measure %s" % quantity)

    def _since(self, then):
        return self._clock.ticks_diff(self._clock.ticks_ms(), then)

    def _in_range(self, quantity, value, limits):
        # Written so that NaN fails it.
        if limits and not limits[0] <= value <= limits[1]:
            from fieldproto.quantities import UNITS  # rare

            raise SensorError(
                self.name,
                "%s %s %s is not %s to %s"
                % (quantity, value, UNITS[quantity], limits[0], limits[1]),
            )

    def _calibrated(self, quantity, value):
        known = self._calibration.get(quantity)
        if known:
            value = value * known[1] + known[0]
        if self.bounds is None:
            from fieldproto.quantities import bounds  # rare: the host knows them

            self.bounds = bounds(self.measures)
        if quantity not in self.bounds:  # a percentage
            return min(max(value, 0), 100)
        self._in_range(quantity, value, self.bounds[quantity])
        return value

    def _bus(self, call, *args):
        """`call(*args)`, every error of the bus as a SensorError."""
        try:
            return call(*args)
        except MemoryError:
            raise
        except OSError as exc:
            number = exc.errno
            raise SensorError(self.name, _ERRNO.get(number) or "bus error %s" % number)
        except Exception as exc:
            # Upstream's dht and ds18x20 raise a bare Exception for a bad checksum and
            # OneWireError, no OSError either, when nobody answers.
            raise SensorError(self.name, str(exc) or "no answer (%s)" % type(exc).__name__)
