"""Methods that nodes rarely call, see `_sim.Lean`."""

import _sim
import utime
from micropython import const

_PIN_SET = const(2)
_ADC = const(5)
_NVS_SET = const(16)
_WLAN = const(21)
_SCAN = const(6)
_IFCONFIG = const(7)

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


def ADC_read_u16(adc):
    raw = adc.read()
    return raw << (16 - adc._bits) | raw >> (2 * adc._bits - 16)


def Timer_value(timer):
    return utime.ticks_diff(utime.ticks_ms(), timer._start)


def NVS_erase_key(nvs, key):
    _sim.call(_NVS_SET, 2, 0, 0, nvs._key(key))


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


def OneWire_readbyte(wire):
    buf = bytearray(1)
    wire.readinto(buf)
    return buf[0]


def DS18X20_write_scratch(chip, rom, buf):
    chip.ow.reset(True)
    chip.ow.select_rom(rom)
    chip.ow.writebyte(0x4E)
    chip.ow.write(buf)


def DS18X20_read_temp(chip, rom):
    buf = chip.read_scratch(rom)
    raw = buf[1] << 8 | buf[0]
    if raw & 0x8000:
        raw -= 0x10000
    if rom[0] == 0x10:
        return (raw >> 1) - 0.25 + (buf[7] - buf[6]) / buf[7]
    return raw / 16
