# heapsize: 2M
"""The chip's own clock, by which mbedTLS judges certificates: 2000-01-01 when the power comes, and
on through resets. To set it leaves the clock alone that dates earlier boots, wherever it is cut
short.

hal.py is the real one, the chip as in ports/esp32/{machine_rtc,modtime,esp32_nvs}.c.
"""

import io
import sys
import time

from fake_node import EPOCH, Bench, FakeHal, fresh_flash
from node_rig import Rig

from fieldnode.backoff import CAP_MS

EPOCH_2000 = 946684800
MINUTE, HOUR = 60000, 3600000
NOT_FOUND, NO_SPACE = -4354, -4357  # ESP_ERR_NVS_...


class Cut(BaseException):
    """The chip stops here."""


class Chip:
    """One board through all its boots. `cut_after`: writes that still happen, None: all do."""

    def __init__(self):
        self.nvs = {}
        self.nvs_writes = self.clock_writes = 0
        self.cut_after = None
        self.full = False

    def power_on(self, now):
        self.zero = now  # when its clock said 2000-01-01

    def step(self):
        """A write that outlives what follows."""
        if self.cut_after is not None:
            if not self.cut_after:
                raise Cut
            self.cut_after -= 1


class Nvs:
    def __init__(self, namespace):
        assert namespace == "fieldhand"
        self.new = {}

    def get_i32(self, key):
        if key not in chip.nvs:
            raise OSError(NOT_FOUND)
        return chip.nvs[key]

    def set_i32(self, key, value):
        assert len(key) <= 15 and isinstance(value, int) and -(1 << 31) <= value < 1 << 31
        if chip.full:
            raise OSError(NO_SPACE, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        self.new[key] = value

    def commit(self):
        chip.step()
        chip.nvs_writes += 1
        chip.nvs.update(self.new)


class Rtc:
    def datetime(self, t):
        y, month, day, _, h, m, s, us = t
        assert all(isinstance(n, int) for n in t) and us == 0
        chip.step()
        chip.clock_writes += 1
        days = [31, 29 if y % 4 == 0 else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        days = (y - 2000) * 365 + (y - 1997) // 4 + sum(days[: month - 1]) + day - 1
        seconds = ((days * 24 + h) * 60 + m) * 60 + s
        chip.zero = chip.time.now - seconds * 1000


class Module:
    def __init__(self, **names):
        for name in names:
            setattr(self, name, names[name])


causes = ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
sys.modules["machine"] = Module(Pin=None, RTC=Rtc, **{name: name for name in causes})
sys.modules["esp32"] = Module(NVS=Nvs)
sys.modules["network"] = sys.modules["ntptime"] = Module()

from fieldnode import hal  # noqa: E402

hal.time = lambda: (chip.time.now - chip.zero) // 1000
hal.gmtime = lambda s: time.gmtime(s + EPOCH_2000)[:8]
Hal = hal.Hal


class ChipHal(FakeHal):
    """FakeHal with the real one's clock. Its time server knows the `true` time."""

    rtc_seconds = Hal.rtc_seconds
    set_clock = Hal.set_clock
    wrong_s = 0  # of the time server

    def __init__(self, time):
        super().__init__(time)
        chip.time = time
        chip.power_on(time.now)
        self.began = time.now

    def power_cut(self):
        super().power_cut()
        chip.power_on(self._time.now)

    def again(self, down_ms=0):
        zero, began, now = chip.zero, self.began, self._time.now
        start = super().again(down_ms)

        def started(time):
            found = start(time)
            shift = time.now - now - down_ms  # Bench's times begin anew
            chip.time, chip.zero, self.began = time, zero + shift, began + shift
            return found

        return started

    def true(self):
        return EPOCH + (self._time.now - self.began) // 1000

    def ntp_time(self, host):
        super().ntp_time(host)
        return self.true() + self.wrong_s


def says():
    """Unix seconds by the chip's clock."""
    return hal.time() + EPOCH_2000


def is_set(bench):
    return abs(says() - bench.hal.true()) <= 1


chip = None


def boot(make=ChipHal, epoch=EPOCH):
    return Bench("plantnanny", connect=False, hal=make, epoch=epoch, interval_ms=MINUTE)


def new_board(epoch=EPOCH):
    global chip
    fresh_flash()
    chip = Chip()
    return boot(epoch=epoch)


def reset(bench, epoch=EPOCH):
    return boot(bench.hal.again(7000), epoch)


def power_cut(bench, epoch=EPOCH):
    """Off for 7 s."""
    bench.time.advance(7000)
    bench.hal.power_cut()
    return boot(bench.hal.again(), epoch)


def synced(bench):
    bench.link.connect()
    bench.run(1)
    return bench


def test_ntp_sets_it_once_and_what_dates_readings_does_not_jump():
    a = new_board()
    assert says() == EPOCH_2000
    a.run(19 * MINUTE)
    before = a.hal.rtc_seconds()
    assert before == 19 * 60
    synced(a)
    assert is_set(a) and a.hal.rtc_seconds() - before in (0, 1)
    assert (chip.nvs_writes, chip.clock_writes) == (1, 1)
    for _ in range(25):  # it is asked for again each day
        a.run(HOUR)
        a.link.sent, a.link.pids = [], []
    b = synced(reset(a))
    assert is_set(b) and b.hal.rtc_seconds() - before - 25 * 3600 in (7, 8)
    assert (chip.nvs_writes, chip.clock_writes) == (1, 1), "once while the power stays"


def test_each_power_on_begins_anew_and_knows_nothing_of_the_last():
    a = new_board()
    a.run(HOUR)
    synced(a)
    for times in (2, 3):
        a.run(HOUR)
        a = power_cut(a, epoch=None)
        assert says() == EPOCH_2000 and a.hal.rtc_seconds() == 0 and not a.clock.known()
        a.run(MINUTE)
        a.hal.epoch = EPOCH
        synced(a)
        assert is_set(a) and a.hal.rtc_seconds() in (60, 61)
        assert chip.nvs_writes == chip.clock_writes == times


def cut_short(a, writes):
    chip.cut_after = writes
    try:
        synced(a)
    except Cut:
        chip.cut_after = None
        return
    raise AssertionError("not that many writes")


def test_a_reset_at_any_write_leaves_the_time_of_all_boots():
    for before in ("new", "stale"):  # without a shift in NVS, and with that of an earlier power-on
        for writes in (0, 1):
            a = new_board()
            if before == "stale":
                a.run(2 * HOUR)
                a = power_cut(synced(a))
            a.run(19 * MINUTE)
            cut_short(a, writes)
            b = reset(a, epoch=None)
            assert b.hal.rtc_seconds() in (19 * 60 + 7, 19 * 60 + 8), (before, writes)
            b.hal.epoch = EPOCH
            synced(b)
            assert is_set(b) and b.hal.rtc_seconds() in (19 * 60 + 7, 19 * 60 + 8)
            # The first reading of the boot that was cut short, 19 min and 7 s ago.
            epoch, quality = b.node.boots.dated(a.node.boots.boot, 0)
            assert abs(epoch - (b.hal.true() - 19 * 60 - 7)) <= 1 and quality == "backfilled"


def test_a_power_cut_at_any_write_leaves_nothing_to_stumble_over():
    for writes in (0, 1):
        a = new_board()
        a.run(2 * HOUR)
        cut_short(a, writes)
        b = power_cut(a, epoch=None)
        assert says() == EPOCH_2000 and b.hal.rtc_seconds() == 0
        b.run(MINUTE)
        assert b.hal.rtc_seconds() == 60
        c = reset(b)
        assert c.hal.rtc_seconds() == 67
        synced(c)
        assert is_set(c) and c.hal.rtc_seconds() == 67


def test_a_time_server_that_was_wrong_is_corrected_and_may_be_cut_short_anywhere():
    for wrong_s in (-7200, 7200, 5 * 365 * 86400):
        for writes in (0, 1, 2, 3):
            a = new_board()
            a.hal.wrong_s = wrong_s
            a.run(MINUTE)
            synced(a)
            assert abs(says() - a.hal.true() - wrong_s) <= 1
            b = reset(a)
            b.hal.wrong_s = 0
            b.run(MINUTE)
            if writes < 3:
                cut_short(b, writes)
                b = reset(b, epoch=None)
                assert b.hal.rtc_seconds() in (134, 135, 133), (wrong_s, writes)
                b.hal.epoch = EPOCH
            synced(b)
            assert is_set(b), (wrong_s, writes)
            assert b.hal.rtc_seconds() in ((126, 127, 128) if writes == 3 else (133, 134, 135))


def test_a_little_off_is_let_be():
    a = new_board()
    a.hal.wrong_s = 3500
    synced(a)
    assert chip.clock_writes == 1
    b = reset(a)
    b.hal.wrong_s = 0
    synced(b)
    assert abs(says() - b.hal.true() - 3500) <= 1 and chip.clock_writes == 1
    assert b.clock.epoch() == b.hal.true(), "the node's own time is right"


def test_set_by_somebody_else_it_is_taken_as_it_is():
    a = new_board()
    a.run(MINUTE)
    Rtc().datetime((2026, 1, 1, 0, 0, 1, 0, 0))  # mpremote rtc --set
    assert a.hal.rtc_seconds() == EPOCH + 60 - EPOCH_2000
    synced(a)
    assert is_set(a) and chip.nvs_writes == 0


def test_a_full_nvs_leaves_it_alone_and_the_node_goes_on():
    a = new_board()
    chip.full = True
    a.run(MINUTE)
    synced(a)
    assert chip.clock_writes == 0 and a.hal.rtc_seconds() == 60 and a.clock.synced()
    chip.full = False
    b = synced(reset(a))
    assert is_set(b) and b.hal.rtc_seconds() in (67, 68)


def test_a_time_that_cannot_be_is_left_to_the_node_s_own_clock():
    for wrong_s in (-10 * 365 * 86400, 60 * 365 * 86400):  # 2016, 2086
        a = new_board()
        a.hal.wrong_s = wrong_s
        synced(a)
        assert chip.nvs_writes == chip.clock_writes == 0 and a.hal.rtc_seconds() == 0


def asked_for_time(tls):
    """Minutes at which it asks in vain, and then whether the chip's clock is set a minute later."""
    fresh_flash()
    broker = {"host": "b", "tls": tls}
    bench = Bench("plantnanny", connect=False, epoch=None, interval_ms=HOUR, broker=broker)
    bench.link.fails = lambda: True
    asked = []
    ask = bench.hal.ntp_time

    def counted(host):
        asked.append(round(bench.clock.ms() / MINUTE))
        return ask(host)

    bench.hal.ntp_time = counted
    bench.run(7 * MINUTE + 30000)
    bench.hal.epoch = EPOCH
    bench.run(MINUTE)
    return asked, hasattr(bench.hal, "chip_clock")


def test_while_a_certificate_needs_the_time_it_is_asked_for_every_minute():
    assert asked_for_time({"ca": "ca.pem"}) == ([0, 1, 2, 3, 4, 5, 6, 7, 8], True)
    assert asked_for_time({}) == ([0, 1, 3, 7], False)


class Tls:
    """An SSLContext whose handshakes end as mbedTLS ends them while the chip says 2000."""

    def __init__(self, hal):
        self.hal = hal

    def wrap_socket(self, sock, server_hostname, do_handshake_on_connect):
        return sock if hasattr(self.hal, "chip_clock") else Refusing(sock)


class Refusing(io.IOBase):
    def __init__(self, sock):
        self.ioctl, self.close = sock.ioctl, sock.close

    def write(self, data, *span):
        raise ValueError("\nThe certificate validity starts in the future\n")


def test_without_a_time_server_the_cause_is_told_and_it_goes_on_trying():
    rig = Rig(epoch=None, tls={"ca": "ca.pem"})
    rig.node.session.ssl = Tls(rig.hal)
    rig.run(lambda: rig.link.failure, 20000)
    assert rig.link.cause == (
        "TLS handshake broker.local:1883: The certificate validity starts in the future: "
        "no time server has set the clock"
    )
    rig.run_for(10 * MINUTE)  # samples on time, see Rig
    assert rig.broker.connections > 6 and not rig.link.up
    rig.hal.epoch = EPOCH
    took = rig.run(lambda: rig.link.up, 10 * MINUTE)
    assert took <= CAP_MS + MINUTE, took
    rig.run_for(MINUTE)
    assert rig.seqs()[0] == 1, "nothing is lost"
