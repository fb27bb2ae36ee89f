"""Atlas Scientific EZO circuits over I2C: pH, ORP and conductivity.

Commands, delays and response codes are those of the EZO-pH, EZO-ORP and EZO-EC datasheets.
"""

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

# Longest answer: code, "500000,270000,42.00,1.300" with all outputs of an EC on, null.
_REPLY_SIZE = const(40)
_SUCCESS = const(1)
_CODES = {2: "syntax error (code 2)", 254: "still processing (code 254)", 255: "no data (code 255)"}

# Command processing times in ms, and what a circuit may be slower: too early costs a reading.
_MARGIN_MS = const(50)
_SET_MS = const(300)
_READ_MS = {"ph": 900, "orp": 900, "ec": 600, "tds": 600}

# Ranges of the datasheets. An EC circuit says 0.00 when its probe is dry or unplugged.
_LIMITS = {
    "ph": (0.001, 14),
    "orp": (-1019.9, 1019.9),
    "ec": (0.00007, 500),
}
# Temperature the circuits assume until told; below this change it is not worth telling.
_DEFAULT_CELSIUS = const(25)
_CELSIUS_STEP = 0.5
_CELSIUS_RANGE = (0, 100)


class Ezo(Sensor):
    """`bus` has `writeto(address, bytes)` and `readfrom_into(address, buffer)`.

    `measures` is ("ph",), ("orp",), ("ec", "tds") or ("tds",). The circuit reports µS/cm;
    `ec` is dS/m, `tds` is `tds_factor` ppm per µS/cm.
    """

    def __init__(self, bus, clock, address, measures, tds_factor=0.54):
        Sensor.__init__(self, "ezo-%s@%d" % (measures[0], address), measures, clock)
        self.limits = _LIMITS
        self._ms = _READ_MS[measures[0]]
        self._i2c = bus
        self._address = address
        self._tds_factor = tds_factor
        self._reply = bytearray(_REPLY_SIZE)
        self._celsius = _DEFAULT_CELSIUS
        self._sent = None  # ticks of the last command
        self._busy = 0  # ms it takes

    def command(self, text, ms):
        """Send `text`, as "Cal,dry", which the circuit takes `ms` for; returns the ms until
        `reply()`. Raises SensorError.
        """
        left = self._busy_ms()
        if left:
            raise SensorError(self.name, "busy for another %d ms" % left)
        self._bus(self._i2c.writeto, self._address, text)
        self._sent = self._clock.ticks_ms()
        self._busy = ms + _MARGIN_MS
        return self._busy

    def reply(self):
        """Text (bytes) of the answer to the last command. Raises SensorError."""
        buf = self._reply
        self._bus(self._i2c.readfrom_into, self._address, buf)
        code = buf[0]
        if code != _SUCCESS:
            raise SensorError(self.name, _CODES.get(code) or "response code %d" % code)
        end = buf.find(b"\0", 1)
        return bytes(buf[1 : end if end > 0 else len(buf)])

    def calibrate(self, quantity, reference):
        """Calibrate the circuit to `reference`, the value of the solution its probe is in.

        pH: below 6 is the low point, above 8 the high one, between is the middle one, which
        must come first and clears the others. Returns the ms until `calibrated()`.
        """
        self._known(quantity)
        if quantity == "ph":
            point = "low" if reference < 6 else "high" if reference > 8 else "mid"
            text = "Cal,%s,%.2f" % (point, reference)
        elif quantity == "orp":
            text = "Cal,%d" % round(reference)
        else:
            text = "Cal,%d" % round(
                reference * 1000 if quantity == "ec" else reference / self._tds_factor
            )
        return self.command(text, self._ms)

    def calibrated(self):
        self.reply()

    def compensate(self, celsius):
        """Tell a pH or EC circuit the temperature; at once, so call it between readings."""
        if self.measures[0] == "orp" or abs(celsius - self._celsius) < _CELSIUS_STEP:
            return
        if self._began is not None or self._busy_ms():
            return
        self._in_range("water_temperature", celsius, _CELSIUS_RANGE)
        self.command("T,%.1f" % celsius, _SET_MS)
        self._celsius = celsius

    def _start(self):
        return self.command(b"R", self._ms)

    def _read(self):
        try:
            text = self.reply()
            value = self._number(text)
        except SensorError:
            # A circuit that was without power has forgotten the temperature.
            self._celsius = _DEFAULT_CELSIUS
            raise
        if self.measures[0] in ("ph", "orp"):
            return (value,)
        self._in_range("ec", value / 1000, _LIMITS["ec"])
        tds = value * self._tds_factor
        return (tds,) if len(self.measures) == 1 else (value / 1000, tds)

    def _number(self, text):
        # EC circuits send "EC,TDS,S,SG", those of them that are on: conductivity is first.
        field = text.split(b",")[0]
        try:
            return float(field)
        except ValueError:
            raise SensorError(self.name, "answered %s, no number" % text)

    def _busy_ms(self):
        if self._sent is None:
            return 0
        left = self._busy - self._since(self._sent)
        return left if 0 < left <= self._busy else 0


def create(config, buses):
    return Ezo(
        buses.i2c(),
        buses.clock,
        config["address"],
        tuple(config["measures"]),
        config.get("tds_factor", 0.54),
    )
