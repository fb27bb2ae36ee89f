"""DS18B20 thermometers on a 1-Wire bus."""

from binascii import hexlify, unhexlify

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

# Conversion time at 12 bits, the longest (datasheet, table 2).
CONVERT_MS = const(750)

# Family codes of the chips with this register layout; 0x10, the DS18S20, has another.
_FAMILIES = (0x28, 0x22)
# What the scratchpad holds after power-up: 85 degrees, in 1/16.
_POWER_ON = const(0x0550)


def celsius16(scratch):
    """Temperature in 1/16 °C (int) of a scratchpad; raises ValueError when it cannot be one."""
    # Bit 7 is 0 and bits 4-0 are 1 in every configuration register. A line held low reads as
    # nine zero bytes, whose CRC is right.
    if scratch[4] & 0x9F != 0x1F:
        raise ValueError("no DS18B20 answer, is the line shorted?")
    raw = scratch[1] << 8 | scratch[0]
    if raw == _POWER_ON:
        raise ValueError("85.0 is the power-on value: the conversion failed, check its supply")
    # Below 12 bits of resolution the last bits are undefined.
    raw &= -1 << (3 - (scratch[4] >> 5 & 3))
    return raw - 0x10000 if raw & 0x8000 else raw


class Wire:
    """One 1-Wire bus and its conversions, which all its sensors share.

    `bus` has `scan()`, `convert_temp()` and `read_scratch(rom)`, as MicroPython's
    `ds18x20.DS18X20`.
    """

    def __init__(self, bus, clock):
        self.bus = bus
        self._clock = clock
        self._began = None

    def convert(self):
        """Start a conversion unless one is under way; returns the ms until it ends."""
        now = self._clock.ticks_ms()
        if self._began is not None:
            passed = self._clock.ticks_diff(now, self._began)
            if 0 <= passed < CONVERT_MS:
                return CONVERT_MS - passed
        self._began = None
        self.bus.convert_temp()
        self._began = now
        return CONVERT_MS


class Ds18b20(Sensor):
    """One thermometer, by its `rom` (8 bytes) or, when that is None, the only one there.

    The search for the only one takes 15 ms, at the first `start()` and after an error.
    """

    def __init__(self, wire, clock, pin, quantity, rom=None):
        Sensor.__init__(self, "%s@%d" % (quantity, pin), (quantity,), clock)
        self.limits = {quantity: (-55, 125)}
        self._wire = wire
        self._given = rom is not None
        self._rom = rom

    def _start(self):
        if self._rom is None:
            self._rom = self._only_one()
        return self._bus(self._wire.convert)

    def _read(self):
        rom = self._rom
        if not self._given:
            # Kept only when it answers: the sensor may have been replaced.
            self._rom = None
        try:
            sixteenths = celsius16(self._bus(self._wire.bus.read_scratch, rom))
        except ValueError as exc:
            raise SensorError(self.name, str(exc))
        self._rom = rom
        return (sixteenths / 16,)

    def _only_one(self):
        roms = [r for r in self._bus(self._wire.bus.scan) if r[0] in _FAMILIES]
        if len(roms) != 1:
            found = ", ".join([hexlify(r).decode() for r in roms])
            raise SensorError(
                self.name, "several there, set rom to one of " + found if roms else "no answer"
            )
        return bytes(roms[0])


def create(config, buses):
    pin = config["pin"]
    if pin not in buses.onewires:
        buses.onewires[pin] = Wire(buses.hal.ds18x20(pin), buses.clock)
    rom = config.get("rom")
    if rom is not None:
        rom = unhexlify(rom)
        if rom[0] not in _FAMILIES:
            raise ValueError("rom starts with %02x, a DS18B20's with 28" % rom[0])
    return Ds18b20(buses.onewires[pin], buses.clock, pin, config["quantity"], rom)
