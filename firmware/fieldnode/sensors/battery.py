"""Battery voltage behind a divider, and what it says of the charge."""

from micropython import const

from fieldnode.sensors.analog import SAMPLES, median
from fieldnode.sensors.base import Sensor, SensorError

_ADC_MAX = const(4095)

# Millivolts of one resting LiPo cell at 0, 5, ... 100 %: the LiPo voltage chart of Ampow
# (blog.ampow.com/lipo-voltage-chart), column 1S.
LIPO_MV = (
    3270, 3610, 3690, 3710, 3730, 3750, 3770, 3790, 3800, 3820, 3840,
    3850, 3870, 3910, 3950, 3980, 4020, 4080, 4110, 4150, 4200,
)  # fmt: skip
_STEP = const(5)

# A cell outside these is not a cell: an open divider, a missing battery, a wrong `cells`.
_CELL_MIN_MV = const(2500)
_CELL_MAX_MV = const(4400)


def lipo_level(millivolts):
    """Charge in percent, 0 to 100, of one resting LiPo cell at `millivolts`."""
    if millivolts <= LIPO_MV[0]:
        return 0
    for i in range(1, len(LIPO_MV)):
        if millivolts <= LIPO_MV[i]:
            low = LIPO_MV[i - 1]
            return _STEP * (i - 1 + (millivolts - low) / (LIPO_MV[i] - low))
    return 100


class Battery(Sensor):
    """`adc` has `read()`, 0 to 4095 for 0 to `full_scale` volts at the pin; the battery has
    `divider` times that. `linear` is volts at 0 and 100 %, None for `cells` LiPo cells.
    """

    def __init__(self, adc, clock, pin, divider, full_scale, cells, linear):
        Sensor.__init__(self, "battery@%d" % pin, ("battery_voltage", "battery_level"), clock)
        self._adc = adc
        self._volts = full_scale * divider / _ADC_MAX
        self._cells = cells
        self._linear = linear
        self._samples = [0] * SAMPLES

    def _start(self):
        return 0

    def _read(self):
        reading = self._bus(median, self._adc, self._samples)
        if reading <= 0:
            raise SensorError(self.name, "0 V at the pin: battery or divider open?")
        if reading >= _ADC_MAX:
            raise SensorError(self.name, "ADC saturated: divider too small?")
        volts = reading * self._volts
        return volts, self._level(volts)

    def _level(self, volts):
        if self._linear:
            empty, full = self._linear
            return (volts - empty) * 100 / (full - empty)
        cell = volts * 1000 / self._cells
        if not _CELL_MIN_MV <= cell <= _CELL_MAX_MV:
            raise SensorError(self.name, "%d mV a cell is no LiPo cell" % cell)
        return lipo_level(cell)


def create(config, buses):
    pin = config["pin"]
    return Battery(
        buses.hal.adc(pin),
        buses.clock,
        pin,
        config.get("divider", 2),
        config.get("full_scale", 3.3),
        config.get("cells", 1),
        config.get("linear"),
    )
