"""Bosch BME280: air temperature, relative humidity and pressure over I2C.

Registers and compensation are those of the data sheet BST-BME280-DS002, in integers.
"""

from struct import unpack_from

from micropython import const

from fieldnode.sensors.base import Sensor, SensorError

_REG_CALIB_TP = const(0x88)  # 26 bytes, the last is H1
_REG_ID = const(0xD0)
_REG_CALIB_H = const(0xE1)  # 7 bytes
_REG_CTRL_HUM = const(0xF2)
_REG_STATUS = const(0xF3)
_REG_CTRL_MEAS = const(0xF4)
_REG_DATA = const(0xF7)  # pressure, temperature, humidity

_CHIP_ID = const(0x60)
_OTHER_CHIPS = {0x56: "BMP280", 0x57: "BMP280", 0x58: "BMP280", 0x61: "BME680"}
_MEASURING = const(0x08)

# Oversampling x1 of all three, forced mode: one measurement, then sleep. It takes at most
# 1.25 + 2.3 + (2.3 + 0.575) + (2.3 + 0.575) = 9.3 ms (appendix B).
_OVERSAMPLE_H = b"\x01"
_FORCED = b"\x25"
_MEASURE_MS = const(10)

# Data registers of a channel that has not measured.
_NO_DATA_PT = const(0x80000)
_NO_DATA_H = const(0x8000)


class Calibration:
    """The trimming parameters of one chip; `tp` is 0x88 to 0xA1, `h` 0xE1 to 0xE7."""

    def __init__(self, tp, h):
        self.t = unpack_from("<Hhh", tp, 0)
        self.p = unpack_from("<Hhhhhhhhh", tp, 6)
        h2, h3, e4, e5, e6, h6 = unpack_from("<hBbBbb", h, 0)
        self.h = (tp[25], h2, h3, e4 << 4 | e5 & 0x0F, e6 << 4 | e5 >> 4, h6)

    def fine(self, adc_t):
        """`t_fine`: the temperature the other two formulas take."""
        t1, t2, t3 = self.t
        var1 = (((adc_t >> 3) - (t1 << 1)) * t2) >> 11
        off = (adc_t >> 4) - t1
        return var1 + ((((off * off) >> 12) * t3) >> 14)

    def temperature(self, fine):
        """Hundredths of a °C (int)."""
        return (fine * 5 + 128) >> 8

    def pressure(self, adc_p, fine):
        """1/256 Pa (int); raises ZeroDivisionError for a calibration read wrong."""
        p1, p2, p3, p4, p5, p6, p7, p8, p9 = self.p
        var1 = fine - 128000
        var2 = var1 * var1 * p6 + ((var1 * p5) << 17) + (p4 << 35)
        var1 = ((var1 * var1 * p3) >> 8) + ((var1 * p2) << 12)
        var1 = (((1 << 47) + var1) * p1) >> 33
        p = (((1048576 - adc_p) << 31) - var2) * 3125 // var1
        var1 = (p9 * (p >> 13) * (p >> 13)) >> 25
        return ((p + var1 + ((p8 * p) >> 19)) >> 8) + (p7 << 4)

    def humidity(self, adc_h, fine):
        """1/1024 % (int), 0 to 102400."""
        h1, h2, h3, h4, h5, h6 = self.h
        v = fine - 76800
        gain = (((((v * h6) >> 10) * (((v * h3) >> 11) + 32768)) >> 10) + 2097152) * h2 + 8192
        v = (((adc_h << 14) - (h4 << 20) - h5 * v + 16384) >> 15) * (gain >> 14)
        v -= ((((v >> 15) * (v >> 15)) >> 7) * h1) >> 4
        return min(max(v, 0), 419430400) >> 12


class Bme280(Sensor):
    """`bus` has `readfrom_mem`, `readfrom_mem_into` and `writeto_mem`, as `machine.I2C`."""

    limits = {
        "air_temperature": (-40, 85),
        "relative_humidity": (0, 100),
        "pressure": (300, 1100),
    }

    def __init__(self, bus, clock, address, measures):
        Sensor.__init__(self, "bme280@%d" % address, measures, clock)
        self._i2c = bus
        self._address = address
        self._trim = None
        self._status = bytearray(1)
        self._data = bytearray(8)

    def _start(self):
        try:
            if self._trim is None:
                self._trim = self._load()
            write = self._i2c.writeto_mem
            # In this order: the humidity setting takes effect with the write to CTRL_MEAS.
            self._bus(write, self._address, _REG_CTRL_HUM, _OVERSAMPLE_H)
            self._bus(write, self._address, _REG_CTRL_MEAS, _FORCED)
        except SensorError:
            # Another chip may be there when it answers again.
            self._trim = None
            raise
        return _MEASURE_MS

    def _load(self):
        read = self._i2c.readfrom_mem
        chip = self._bus(read, self._address, _REG_ID, 1)[0]
        if chip != _CHIP_ID:
            what = _OTHER_CHIPS.get(chip, "no BME280")
            raise SensorError(self.name, "chip id 0x%02x is %s, not 0x60" % (chip, what))
        trim = Calibration(
            self._bus(read, self._address, _REG_CALIB_TP, 26),
            self._bus(read, self._address, _REG_CALIB_H, 7),
        )
        if not trim.t[0] or not trim.p[0]:
            raise SensorError(self.name, "calibration block is empty")
        return trim

    def _read(self):
        read, data = self._i2c.readfrom_mem_into, self._data
        self._bus(read, self._address, _REG_STATUS, self._status)
        if self._status[0] & _MEASURING:
            raise SensorError(self.name, "still measuring")
        self._bus(read, self._address, _REG_DATA, data)
        adc_p = data[0] << 12 | data[1] << 4 | data[2] >> 4
        adc_t = data[3] << 12 | data[4] << 4 | data[5] >> 4
        adc_h = data[6] << 8 | data[7]
        if adc_t == _NO_DATA_PT or adc_p == _NO_DATA_PT or adc_h == _NO_DATA_H:
            self._trim = None
            raise SensorError(self.name, "has not measured, was it reset?")
        trim = self._trim
        fine = trim.fine(adc_t)
        try:
            pascal = (trim.pressure(adc_p, fine) + 128) >> 8
        except ZeroDivisionError:
            raise SensorError(self.name, "calibration block makes no sense")
        return trim.temperature(fine) / 100, trim.humidity(adc_h, fine) / 1024, pascal / 100


def create(config, buses):
    return Bme280(buses.i2c(), buses.clock, config["address"], tuple(config["measures"]))
