"""The modules of an ESP32, put into `sys.modules` before the node is imported."""

import os
import sys
from time import gmtime as _gmtime

from .net import Poll, Wlan
from .world import EPOCH

_EPOCH_2000 = 946684800


class Module:
    """A module made of its attributes."""

    def __init__(self, **names):
        for name in names:
            setattr(self, name, names[name])


def install(world, air, net, board, model):
    """Everything the firmware imports that is not MicroPython's own."""
    modules = sys.modules

    def gmtime(seconds=None):
        return _gmtime((world.chip_seconds() if seconds is None else seconds) + _EPOCH_2000)

    modules["time"] = Module(
        ticks_ms=world.ticks_ms,
        ticks_diff=_ticks_diff,
        ticks_add=lambda a, b: (a + b) % (1 << 30),
        sleep_ms=world.sleep,
        sleep_us=lambda us: None,
        sleep=lambda s: world.sleep(int(s * 1000)),
        ticks_us=lambda: world.ticks_ms() * 1000 % (1 << 30),
        gmtime=gmtime,
        time=world.chip_seconds,
    )
    modules["socket"] = net
    modules["select"] = Module(POLLIN=1, POLLOUT=4, POLLHUP=16, poll=lambda: Poll(world))
    modules["random"] = Module(getrandbits=world.node_dice.bits)
    modules["os"] = _os(world)
    modules["gc"] = _gc()
    modules["machine"] = _machine(world, board)
    modules["esp32"] = Module(
        NVS=lambda namespace: Nvs(board.nvs, namespace),
        HEAP_DATA=4,
        idf_heap_info=lambda kind: [(120000, 60000, 50000, 40000)],
    )

    def wlan(_):
        net.wlan = Wlan(world, air)
        return net.wlan

    modules["network"] = Module(WLAN=wlan, STA_IF=0)
    modules["ntptime"] = Ntp(world, air, net, model)
    modules["dht"] = Module(DHT22=lambda pin: Dht(board), DHT11=lambda pin: Dht(board))
    modules["onewire"] = Module(OneWire=lambda pin: pin)
    modules["ds18x20"] = Module(DS18X20=lambda wire: Ds18x20(board))


def _ticks_diff(a, b):
    half = 1 << 29
    return ((a - b + half) % (1 << 30)) - half


def _os(world):
    found = Module()
    for name in dir(os):
        if name[:2] != "__":
            setattr(found, name, getattr(os, name))
    found.urandom = lambda n: bytes([world.node_dice.bits(8) for _ in range(n)])
    return found


def _gc():
    """The heap is not the ESP32's here: asked for, it always says the same, so that what a node
    sends, and with it the whole run, depends on the seed alone."""
    import gc

    turns = [0]

    def collect():
        turns[0] += 1
        if turns[0] % 16 == 0:
            gc.collect()

    return Module(
        collect=collect,
        mem_free=lambda: 90000,
        mem_alloc=lambda: 70000,
        threshold=lambda n=-1: -1,
        enable=gc.enable,
        disable=gc.disable,
    )


class Pin:
    OUT = 3
    IN = 1
    PULL_UP = 2
    IRQ_RISING = 1

    def __init__(self, board, number, mode=-1, pull=None, value=None):
        self._board = board
        self.number = number
        if value is not None:
            board.drive(number, value)

    def value(self, level=None):
        if level is None:
            return self._board.levels.get(self.number, 0)
        self._board.drive(self.number, level)

    def irq(self, handler, trigger):
        self._board.edges[self.number] = handler


class Timer:
    """One of the four hardware timers."""

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, world, board):
        self._world = world
        self._board = board
        self._armed = 0
        self._period = None
        self._lost = False
        self._callback = None

    def init(self, mode, period, callback):
        self._armed += 1
        self._callback = callback
        self._period = max(period, 1) if mode == Timer.PERIODIC else None
        self._world.after(period, self._alarm, (self._armed, self._world.boots))

    def deinit(self):
        self._armed += 1

    def _alarm(self, which):
        if which != (self._armed, self._world.boots) or not self._world.powered:
            return
        if self._period is not None:
            self._world.after(self._period, self._alarm, which)
        self._lost = not self._lost and self._board.loses_alarms and self._world.dice.bits(1)
        if self._lost:  # eight other callbacks waited; not twice in a row
            return
        self._callback(self)


def _machine(world, board):
    class BoardPin(Pin):
        def __init__(self, number, mode=-1, pull=None, value=None):
            Pin.__init__(self, board, number, mode, pull, value)

    class Wdt:
        def __init__(self, timeout):
            world.watch(timeout)

        def feed(self):
            world.feed()

    class Adc:
        ATTN_11DB = 3

        def __init__(self, pin, atten=None):
            self._number = pin.number

        def read(self):
            return board.adc(self._number)

    class Pwm:
        def __init__(self, pin, freq, duty_u16):
            pass

        def duty_u16(self, duty):
            pass

    class Rtc:
        def memory(self, data=None):
            if data is None:
                return board.rtc
            assert len(data) <= 2048
            board.rtc = bytes(data)

        def datetime(self, t):
            y, month, day, _, hour, minute, second, _ = t
            if month < 3:
                y, month = y - 1, month + 12
            days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * month - 457) // 5 + day - 730426
            world.set_chip_clock(((days * 24 + hour) * 60 + minute) * 60 + second)

    causes = {"power": 1, "hard": 2, "watchdog": 3, "deepsleep": 4, "soft": 5}

    return Module(
        Pin=BoardPin,
        Timer=_Timers(world, board),
        WDT=Wdt,
        ADC=Adc,
        PWM=Pwm,
        RTC=Rtc,
        PWRON_RESET=1,
        HARD_RESET=2,
        WDT_RESET=3,
        DEEPSLEEP_RESET=4,
        SOFT_RESET=5,
        reset_cause=lambda: causes[world.cause],
        reset=lambda: world.die("hard"),
        soft_reset=lambda: world.die("soft"),
        unique_id=lambda: b"\x24\x0a\xc4\0\0\1",
    )


class _Timers:
    """The class machine.Timer, as far as it is called."""

    ONE_SHOT = Timer.ONE_SHOT
    PERIODIC = Timer.PERIODIC

    def __init__(self, world, board):
        self._world = world
        self._board = board

    def __call__(self, number):
        assert 0 <= number < 4
        return Timer(self._world, self._board)


class Nvs:
    """Durable at commit(); what was not committed is gone with the supply."""

    def __init__(self, store, namespace):
        self._store = store
        self._space = namespace
        self._new = {}

    def _get(self, key):
        key = (self._space, key)
        value = self._new.get(key, self._store.get(key))
        if value is None:
            raise OSError(-4354)  # ESP_ERR_NVS_NOT_FOUND
        return value

    def get_blob(self, key, buffer):
        value = self._get(key)
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        assert len(key) <= 15
        self._new[self._space, key] = bytes(value)

    def get_i32(self, key):
        return self._get(key)

    def set_i32(self, key, value):
        assert len(key) <= 15
        self._new[self._space, key] = value

    def erase_key(self, key):
        self._get(key)
        self._new.pop((self._space, key), None)
        self._store.pop((self._space, key), None)

    def commit(self):
        self._store.update(self._new)
        self._new = {}


class Ntp:
    host = ""

    def __init__(self, world, air, net, model):
        self._world = world
        self._air = air
        self._net = net
        self._model = model

    def time(self):
        if not self._air.ntp or not self._net.passes():
            self._world.sleep(1000)
            raise OSError(116)
        self._world.sleep(self._air.latency)
        self._model.time_told(self._air.ntp_error)
        return self._world.epoch() + self._air.ntp_error - _EPOCH_2000


class Dht:
    def __init__(self, board):
        self._board = board

    def measure(self):
        self._board.bus()

    def temperature(self):
        return self._board.tenths["air_temperature"] / 10

    def humidity(self):
        return self._board.tenths["relative_humidity"] / 10


class Ds18x20:
    def __init__(self, board):
        self._board = board

    def scan(self):
        self._board.bus()
        return [bytearray(b"\x28\1\2\3\4\5\6\7")]

    def convert_temp(self):
        self._board.bus()

    def read_scratch(self, rom):
        self._board.bus()
        raw = self._board.tenths["water_temperature"] * 8 // 5 * 1  # 1/16 degrees
        return bytes((raw & 255, raw >> 8, 0, 0, 0x7F, 0, 0, 0, 0))


assert EPOCH > _EPOCH_2000
