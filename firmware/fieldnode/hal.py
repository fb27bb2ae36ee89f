"""The hardware, as the rest of the node sees it. Only this file and main.py import `machine`."""

import sys
from time import gmtime, ticks_diff, ticks_ms, time

import esp32
import machine
import network
import ntptime
from machine import Pin

_REPEAT_MS = 250  # an alarm that is lost comes again after this long, or twice as long
_COUNT_MASK = 0x3FFFFFFF
_PWM_HZ = 1000
_NVS_MAX = 1024  # bytes of a blob: an id, a password, a traceback, the way to the broker
_EPOCH_2000 = 946684800
_SET_S = 631152000  # 2020: nobody has set a clock that is behind, it counts from power-on
_MAX_S = 2147483647  # 2068: NVS takes no more
_CLOCK_OFF_S = 3600  # a clock that is off by more is set

# Where the ROM's number of the last reset is, by the end of the chip's name: ESP-IDF,
# RTC_CNTL_RESET_STATE_REG of components/soc/*/include/soc/rtc_cntl_reg.h.
_ROM_CAUSE = (("ESP32", 0x3FF48034), ("S3", 0x60008038), ("C3", 0x60008038))
_CAUSES = {
    machine.PWRON_RESET: "power",
    machine.HARD_RESET: "hard",
    machine.WDT_RESET: "watchdog",
    machine.DEEPSLEEP_RESET: "deepsleep",
    machine.SOFT_RESET: "soft",
}


def _timers():
    """General-purpose timers of the chip: 4, but a C3 has 2. See ports/esp32/machine_timer.c."""
    try:
        # On a C3 the Timer(2) of MicroPython 1.24 is its Timer(0): a pump would lose its end.
        return 2 if machine.Timer(2) is machine.Timer(0) else 4
    except ValueError:  # 1.25 and later
        return 2


def brown_out():
    """Whether MicroPython's power-on was a brown-out, which it calls so: the ROM's is 1."""
    for end, at in _ROM_CAUSE:
        if sys.implementation._machine.endswith(end):
            return machine.mem32[at] & 63 != 1
    return False


class Hal:
    """Makes the parts drivers are handed. Numbers are GPIO numbers."""

    def __init__(self):
        self._free_timers = list(range(_timers()))
        # 2 kB that outlive a reset, not a power cut; the readings in RAM are copied there.
        self.rtc_memory = machine.RTC().memory
        self.cause = None

    def pin_out(self, pin, value):
        return Pin(pin, Pin.OUT, value=value)

    def pwm(self, pin):
        return machine.PWM(Pin(pin, Pin.OUT), freq=_PWM_HZ, duty_u16=0)

    def adc(self, pin):
        """`.read()` gives 0-4095 for 0 to about 3.1 V, on a C3 2.8 V."""
        return machine.ADC(Pin(pin), atten=machine.ADC.ATTN_11DB)

    def dht(self, pin, kind):
        import dht

        return (dht.DHT22 if kind == "dht22" else dht.DHT11)(Pin(pin))

    def ds18x20(self, pin):
        import ds18x20
        import onewire

        return ds18x20.DS18X20(onewire.OneWire(Pin(pin)))

    def i2c(self, scl, sda):
        return machine.SoftI2C(scl=Pin(scl), sda=Pin(sda), freq=100000)

    def counter(self, pin):
        return Counter(pin)

    def one_shot(self, ms, callback):
        """Call `callback(timer)` once after `ms`. OSError when all hardware timers are in use."""
        if not self._free_timers:
            raise OSError(16)  # EBUSY
        return OneShot(self._free_timers, ms, callback)

    def wlan(self):
        return network.WLAN(network.STA_IF)

    def watchdog(self, ms):
        return machine.WDT(timeout=ms)

    def nvs(self, namespace):
        return Nvs(namespace)

    def unique_id(self):
        return machine.unique_id()

    def reset(self):
        machine.reset()

    def reset_cause(self):
        """Why the node started: `cause` where somebody knows better than the chip."""
        cause = self.cause or _CAUSES.get(machine.reset_cause(), "unknown")
        return "brownout" if cause == "power" and brown_out() else cause

    def largest_block(self):
        """Bytes of the largest block ESP-IDF can give, to TLS say; MicroPython's heap apart."""
        return max([region[2] for region in esp32.idf_heap_info(esp32.HEAP_DATA)])

    def rtc_seconds(self):
        """Of a clock that goes on through a reset and begins anew when the power comes: the
        chip's, less what set_clock() added to it."""
        now = time()
        if now > _SET_S:
            try:
                now -= esp32.NVS("fieldhand").get_i32("clock")
            except OSError:
                pass  # somebody else has set it
        return now

    def set_clock(self, epoch):
        """Let the chip's clock, by which mbedTLS judges certificates, say `epoch` (Unix seconds)
        if it is off by an hour. Wherever a reset cuts this short, rtc_seconds() goes on. One write
        to NVS a power-on, unless the time server was wrong. Raises OSError."""
        seconds = epoch - (_EPOCH_2000 if gmtime(0)[0] == 2000 else 0)
        if abs(seconds - time()) <= _CLOCK_OFF_S or not _SET_S < seconds < _MAX_S:
            return
        rtc = self.rtc_seconds()
        if time() > _SET_S:
            _set_clock(rtc)  # as if never set: neither the old shift applies nor the new one
        nvs = esp32.NVS("fieldhand")
        nvs.set_i32("clock", seconds - rtc)
        nvs.commit()
        _set_clock(seconds)

    def ntp_time(self, host):
        """Unix seconds (int) by SNTP. Raises OSError; `ntptime` gives up after a second."""
        ntptime.host = host
        seconds = ntptime.time()
        return seconds + (_EPOCH_2000 if gmtime(0)[0] == 2000 else 0)


def _set_clock(seconds):
    t = gmtime(seconds)
    machine.RTC().datetime(t[:3] + (0,) + t[3:6] + (0,))  # the day of the week is not looked at


class Counter:
    """Rising edges on a pin."""

    def __init__(self, pin):
        self._count = 0
        # GPIO34-39 of the ESP32 have no pull-up; asked for it, MicroPython goes on without.
        self._pin = Pin(pin, Pin.IN, Pin.PULL_UP)
        self._pin.irq(self._edge, Pin.IRQ_RISING)

    def _edge(self, _pin):
        self._count = (self._count + 1) & _COUNT_MASK

    def count(self):
        return self._count


class OneShot:
    """A hardware timer that fires once; `cancel()` may be called after it has.

    It repeats until its callback has run: the ESP32 loses an alarm while eight other callbacks
    wait, as a flow meter's do during a write to flash.
    """

    def __init__(self, pool, ms, callback):
        self._pool = pool
        self._id = pool.pop()
        self._callback = callback
        self._timer = machine.Timer(self._id)
        self._since = ticks_ms()
        self._ms = ms
        self._arm(ms)

    def _arm(self, left):
        self._last = left < 2 * _REPEAT_MS
        period = left if self._last else _REPEAT_MS
        self._timer.init(mode=machine.Timer.PERIODIC, period=period, callback=self._fire)

    def _fire(self, timer):
        if self._timer is None:
            return  # cancelled while the alarm was on its way
        left = self._ms - ticks_diff(ticks_ms(), self._since)
        if left <= 0:
            self._callback(timer)  # first: it puts a pump off
            self.cancel()
        elif not self._last and left < 2 * _REPEAT_MS:
            self._arm(left)  # so that it ends on the dot

    def cancel(self):
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None
            self._pool.append(self._id)


class Nvs:
    """Strings in the ESP32's NVS, which knows only ints and blobs; commits every write."""

    def __init__(self, namespace):
        self._nvs = esp32.NVS(namespace)

    def get_str(self, key):
        buffer = bytearray(_NVS_MAX)
        try:
            size = self._nvs.get_blob(key, buffer)
        except OSError:
            return None  # not there: ESP_ERR_NVS_NOT_FOUND
        return bytes(buffer[:size]).decode()

    def set_str(self, key, text):
        self._nvs.set_blob(key, text.encode())
        self._nvs.commit()
