# heapsize: 1M
"""Which boot took a reading and when, through resets and power cuts, with the time known late."""

import os

from fake_node import EPOCH, Bench, FakeHal, fresh_flash

fresh_flash()

A_MS = 1140000  # boot A lives 19 minutes ...
DOWN_MS = 7000  # ... a reset takes 7 s ...
LATE_MS = 30000  # ... and boot B hears the time after half a minute
MINUTE = 60000


def boot(hal=FakeHal, epoch=None, **config):
    bench = Bench("plantnanny", connect=False, hal=hal, epoch=epoch, interval_ms=MINUTE, **config)
    bench.hal.epoch = epoch
    return bench


def reset(bench, epoch=None):
    return boot(bench.hal.again(DOWN_MS), epoch)


def power_cut(bench, epoch=None):
    bench.hal.power_cut()
    return boot(bench.hal.again(DOWN_MS), epoch)


def drained(bench):
    """{boot: {seq: payload}} of all that waits."""
    bench.link.sent = []
    if not bench.link.up:
        bench.link.connect()
    for _ in range(40):
        bench.run(1)
    found = {}
    for topic, obj, _ in bench.link.sent:
        if topic.endswith("/data"):
            ext = obj["_fh"]
            readings = found.setdefault(ext["boot"], {})
            assert ext["seq"] not in readings, "sent twice"
            readings[ext["seq"]] = obj
    return found


def check_a(readings, count, zero, slack=1):
    """Those of boot A: numbered, a minute apart, and dated from `zero` (Unix seconds)."""
    assert sorted(readings) == list(range(1, count + 1)), sorted(readings)
    for seq, obj in readings.items():
        ext = obj["_fh"]
        assert ext["ms"] == (seq - 1) * MINUTE and obj["uptime"] == (seq - 1) * 60, ext
        assert ext["q"] == "backfilled", ext
        assert abs(obj["ts"] - (zero + (seq - 1) * 60)) <= slack, (seq, obj["ts"] - zero)


def name(bench):
    return "%d-%04x" % bench.node.boots.boot


def test_a_reset_keeps_all_readings_and_their_time():
    a = boot()
    a.run(A_MS)
    b = reset(a)
    b.run(LATE_MS)
    b.hal.epoch = EPOCH
    found = drained(b)
    assert set(found) == {name(a), name(b)}, found.keys()
    assert name(a).startswith("1-") and name(b).startswith("2-"), found.keys()
    # 20 readings, the last of them not yet on flash. B heard EPOCH when it was 30 s old.
    check_a(found[name(a)], 20, EPOCH - (A_MS + DOWN_MS + LATE_MS) // 1000)
    assert found[name(b)][1]["_fh"]["q"] == "backfilled"
    assert found[name(b)][1]["ts"] == EPOCH - 30


def test_after_a_power_cut_the_time_without_power_is_taken_for_none():
    a = boot()
    a.run(A_MS)
    b = power_cut(a)
    b.run(LATE_MS)
    b.hal.epoch = EPOCH
    found = drained(b)
    durable = len(found[name(a)])
    assert durable == 14, durable  # the queue is written every six minutes
    last = (durable - 1) * 60
    check_a(found[name(a)], durable, EPOCH - LATE_MS // 1000 - last)


def test_a_brown_out_that_spares_rtc_memory_dates_no_reading_too_late():
    a = boot()
    a.run(A_MS)
    a.hal.brown_out()
    b = boot(a.hal.again(DOWN_MS))
    b.run(LATE_MS)
    c = reset(b)
    c.run(LATE_MS)
    c.hal.epoch = EPOCH
    found = drained(c)
    of_b = EPOCH - (2 * LATE_MS + DOWN_MS) // 1000
    check_a(found[name(a)], 20, of_b - 19 * 60)  # the newest is taken for as old as the start of B
    assert found[name(b)][1]["ts"] == of_b


def test_two_boots_without_time_before_the_one_that_has_it():
    a = boot()
    a.run(A_MS)
    b = reset(a)
    b.run(A_MS)
    c = power_cut(b)
    c.run(LATE_MS)
    c.hal.epoch = EPOCH
    found = drained(c)
    last = (len(found[name(b)]) - 1) * 60
    zero = EPOCH - LATE_MS // 1000 - last
    check_a(found[name(b)], len(found[name(b)]), zero)
    check_a(found[name(a)], 20, zero - (A_MS + DOWN_MS) // 1000)


def test_what_one_boot_knew_the_next_knows_without_network():
    a = boot(epoch=EPOCH)
    a.link.connect()
    a.run(1)
    a.link.lose()
    a.run(A_MS)
    b = reset(a)
    assert b.clock.epoch() == EPOCH + (A_MS + DOWN_MS) // 1000
    b.run(A_MS)
    found = drained(b)  # and no time server answers
    assert not b.clock.synced()
    assert found[name(a)][5]["_fh"]["q"] == "synced"
    assert found[name(a)][5]["ts"] == EPOCH + 240
    assert found[name(b)][5]["_fh"]["q"] == "backfilled"
    assert found[name(b)][5]["ts"] == EPOCH + (A_MS + DOWN_MS) // 1000 + 240
    c = power_cut(b)
    assert not c.clock.known(), "nobody knows how long the power was away"


def test_readings_on_flash_are_dated_by_the_boot_that_sends_them():
    a = boot()
    a.run(A_MS)
    a.hal.epoch = EPOCH
    a.link.connect()
    a.node.step()  # knows the time by now, and dies before anything is acknowledged
    b = power_cut(a)
    b.run(LATE_MS)
    found = drained(b)
    check_a(found[name(a)], len(found[name(a)]), EPOCH - A_MS // 1000)
    assert found[name(b)][1]["_fh"]["q"] == "unknown" and "ts" not in found[name(b)][1]


def test_a_damaged_table_costs_the_time_not_the_readings():
    for damage in ('{"boots": 5}', '{"boots": [[1]]}', '{"boots": [[[1, 2], [3, 4], 5, 6]]}', "{"):
        a = boot()
        a.run(A_MS)
        with open("boots.json", "w") as file:
            file.write(damage)
        b = power_cut(a)
        b.run(LATE_MS)
        b.hal.epoch = EPOCH
        found = drained(b)
        readings = found[name(a)]
        assert sorted(readings) == list(range(1, len(readings) + 1)) and len(readings) > 13
        assert readings[3]["_fh"]["q"] == "unknown" and readings[3]["_fh"]["ms"] == 2 * MINUTE
        assert found[name(b)][1]["ts"] == EPOCH - 30


def test_the_table_is_bounded_and_numbers_go_on():
    bench = boot()
    for _ in range(20):
        bench = reset(bench)
        bench.run(1000)
    assert name(bench).startswith("21-")
    assert os.stat("boots.json")[6] < 800
    bench.hal.strings.strings.clear()  # NVS erased: the file counts on
    bench = reset(bench)
    assert name(bench).startswith("22-")
    os.remove("boots.json")  # and the other way round
    assert name(reset(bench)).startswith("23-")


def test_a_restart_on_command_flushes_first():
    a = boot(epoch=EPOCH)
    a.link.connect()
    a.run(1)
    a.link.lose()
    a.run(3 * MINUTE)
    a.node.restart_after_replies()
    a.run(5000)
    assert a.hal.resets
    b = power_cut(a)
    assert sorted(drained(b)[name(a)]) == [2, 3, 4], "the first was acknowledged"
