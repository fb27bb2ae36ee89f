# heapsize: 4M
# timeout: 300
"""The outbox on real littlefs: limits, drops, damage, a flash that fails, wear, and its heap."""

import gc
import os

from fake_node import FakeHal, FakeTime
from flash import Flash

from fieldnode import batch, segments
from fieldnode.clock import Clock
from fieldnode.outbox import Outbox

BOOT = (3, 0x9F3C)
VALUES = {"soil_moisture": 41.5, "air_temperature": 24.3, "relative_humidity": 55.0}
QUEUE = 262144  # bytes, the default
FLUSH_S = 360
INTERVAL_MS = 30000


class Bed:
    """An outbox on a flash of its own; `boot` starts it anew, as after a reset."""

    def __init__(self, queue=QUEUE, blocks=96):
        self.time = FakeTime(0)
        self.hal = FakeHal(self.time)
        self.queue = queue
        self.flash = Flash(blocks).format().mount("/f")
        self.seq = 0
        self.ms = 0
        self.boot(BOOT)

    def boot(self, boot):
        self.seq = 0
        self.clock = Clock(self.time)
        self.box = Outbox(self.clock, self.hal, boot, self.queue, FLUSH_S, "/f/outbox")

    def power_cut(self):
        self.hal.power_cut()
        self.boot((BOOT[0] + 1, 1))

    def take_readings(self, count, online=False):
        """One each half minute, with the node's turns."""
        for _ in range(count):
            self.time.advance(INTERVAL_MS)
            self.seq += 1
            self.box.append(self.seq, self.clock.ms(), VALUES)
            self.box.step(online)

    def drain(self, window=8, limit=100000):
        """Send and acknowledge all that waits: [(boot, seq)]."""
        sent = [None] * len(self.box)  # in one piece while there is one
        count = 0
        while True:
            pids = []
            while len(pids) < window and count < limit:
                found = self.box.take()
                if found is None:
                    break
                check(found)
                sent[count] = found[:2]
                count += 1
                self.box.sent(count)
                pids.append(count)
            if not pids:
                del sent[count:]
                return sent
            for done in pids:
                assert self.box.acknowledged(done)


def check(found):
    boot, seq, ms, epoch, values, again = found
    assert set(values) == set(VALUES), values
    assert values["soil_moisture"] == 41.5 and abs(values["air_temperature"] - 24.3) < 1e-5
    assert ms > 0 and seq > 0, found


def seqs(sent):
    return [seq for _, seq in sent]


def test_online_no_reading_touches_the_flash():
    bed = Bed()
    bed.flash.programs = bed.flash.erases = 0
    for _ in range(1000):
        bed.take_readings(1, online=True)
        assert len(bed.drain()) == 1
    assert (bed.flash.programs, bed.flash.erases) == (0, 0)


def test_wear_of_offline_readings_and_of_draining_them():
    bed = Bed()
    bed.flash.programs = bed.flash.erases = 0
    bed.take_readings(5200)
    count = len(bed.box)
    offline = bed.flash.erases / 5200
    print("erases per offline reading: %.4f, programs: %.2f" % (offline, bed.flash.programs / 5200))
    assert offline <= 0.1, offline
    assert max(bed.flash.worn) <= 5200 // 25, bed.flash.worn
    bed.flash.erases = 0
    assert count > 5000 and len(bed.drain()) == count, count
    print("erases per drained reading: %.4f" % (bed.flash.erases / count))
    assert bed.flash.erases / count <= 0.005, bed.flash.erases


def test_flushed_once_the_oldest_is_old_enough():
    bed = Bed()
    bed.take_readings(12)
    assert bed.hal.rtc_kept and not os.listdir("/f/outbox")
    bed.take_readings(1)
    assert os.listdir("/f/outbox") == ["00000000"] and len(bed.box) == 13
    bed.power_cut()
    assert [bed.box.take()[:2] for _ in range(13)] == [(BOOT, n) for n in range(1, 14)]


def test_flushed_when_ram_is_full():
    bed = Bed()
    for _ in range(200):
        bed.seq += 1
        bed.box.append(bed.seq, 1000 + bed.seq, VALUES)
    kept = len(os.listdir("/f/outbox"))
    assert kept >= 1 and len(bed.box) == 200
    bed.power_cut()
    lost = 200 - len(bed.box)
    assert 0 < lost < batch.SIZE // 40, lost


def test_readings_in_ram_outlive_a_reset_but_not_a_power_cut():
    bed = Bed()
    bed.take_readings(5)
    bed.boot((4, 1))
    bed.take_readings(2)
    assert sorted(bed.drain()) == [(BOOT, n) for n in (1, 2, 3, 4, 5)] + [((4, 1), 1), ((4, 1), 2)]
    bed.take_readings(5)
    bed.power_cut()
    assert len(bed.box) == 0 and bed.drain() == []


def test_rtc_memory_of_another_program_is_not_read():
    for other in (b"\xa7\x01", b"hello" * 300, b"\xff" * 2048, bytes(2048)):
        bed = Bed()
        bed.hal.rtc_kept = other
        bed.boot(BOOT)
        assert len(bed.box) == 0
        bed.take_readings(3)
        assert seqs(bed.drain()) == [1, 2, 3]
        os.umount("/f")


def test_an_orderly_reset_loses_and_repeats_nothing():
    bed = Bed()
    bed.take_readings(150)
    first = bed.drain(limit=37)
    bed.box.close()
    bed.power_cut()  # RTC memory gone as well
    rest = bed.drain()
    assert sorted(seqs(first + rest)) == list(range(1, 151))
    # The mark is used once: a queue that begins anew is not taken for drained.
    bed.power_cut()
    bed.take_readings(60)
    bed.box.close()
    bed.power_cut()
    assert len(bed.drain()) == 60


def test_the_oldest_segment_is_dropped_and_counted():
    bed = Bed(queue=16384)
    bed.take_readings(1000)
    kept = len(bed.box)
    assert kept + bed.box.dropped == 1000 and bed.box.dropped > 500
    sizes = [os.stat("/f/outbox/" + name)[6] for name in os.listdir("/f/outbox")]
    assert len(sizes) <= 4 and max(sizes) <= segments.BLOCK, sizes
    assert sorted(seqs(bed.drain())) == list(range(1001 - kept, 1001))


def test_dropping_under_the_reader_and_what_is_on_its_way():
    bed = Bed(queue=16384)
    bed.take_readings(380)
    waiting = len(bed.box)
    for pid in range(1, 9):
        bed.box.take()
        bed.box.sent(pid)
    assert bed.box.acknowledged(2) and len(bed.box) == waiting - 1
    bed.take_readings(150)
    assert not bed.box.acknowledged(3), "its segment is gone"
    sent = seqs(bed.drain())
    assert sorted(sent) == list(range(531 - len(sent), 531)), sent
    assert bed.box.dropped == 530 - 1 - len(sent) and len(bed.box) == 0


def test_live_readings_are_not_starved_by_the_backlog():
    bed = Bed()
    bed.take_readings(1300)
    seen = []
    for n in range(200):
        if n % 20 == 10:
            bed.take_readings(1, online=True)
            newest = bed.seq
            due = n + 2 * len(bed.box.batch.entries)
        seen.append(bed.box.take()[1])
        bed.box.sent(10 + n)
        bed.box.acknowledged(10 + n)
        if n > 10 and n >= due:
            assert newest in seen, (n, newest)
    backlog = [seq for seq in seen if seq <= 1300 - 13]
    assert backlog == sorted(backlog) and len(backlog) > 150


def test_what_a_kept_session_has_is_sent_again_under_its_id():
    bed = Bed()
    bed.take_readings(130)
    pids = {}
    for pid in range(1, 9):
        pids[bed.box.take()[1]] = pid
        bed.box.sent(pid)
    for pid in (2, 5):
        assert bed.box.acknowledged(pid)
    open_ids = {seq: pid for seq, pid in pids.items() if pid not in (2, 5)}
    bed.box.take()  # which had not gone out when the link was lost
    bed.box.unsend(True)
    again = {}
    order = []
    for pid in range(20, 34):
        boot, seq, ms, epoch, values, old = bed.box.take()
        order.append(seq)
        if old:
            again[seq] = old
        bed.box.sent(old or pid)
    assert again == open_ids, (again, open_ids)
    assert order == sorted(set(order)), order
    assert not [seq for seq in order if pids.get(seq) in (2, 5)]
    bed.box.unsend(False)  # and lost once more, now with the session
    assert bed.box.take()[5] == 0
    bed.box.unsend(False)
    rest = seqs(bed.drain())
    known = [seq for seq, pid in pids.items() if pid in (2, 5)]
    assert sorted(rest + known) == list(range(1, 131)), rest
    assert len(bed.box) == 0


def test_damage_is_skipped_and_counted():
    bed = Bed()
    bed.take_readings(13 * 16)
    names = sorted(os.listdir("/f/outbox"))
    victim = "/f/outbox/" + names[0]
    with open(victim, "rb") as file:
        data = bytearray(file.read())
    bed.box = None
    for at in range(100, len(data), 3):  # each time another byte
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        with open(victim, "wb") as file:
            file.write(damaged)
        bed.boot(BOOT)
        count = len(bed.box)
        if at % 99 < 3:
            sent = seqs(bed.drain(limit=int(names[1], 16) + 5))
        else:  # only the first segment's
            sent = []
            while not sent or sent[-1] < int(names[1], 16) + 1:
                found = bed.box.take()
                check(found)
                sent.append(found[1])
                bed.box.sent(0)
        assert len(set(sent)) == len(sent) and sent == sorted(sent)
        missing = [n for n in range(1, sent[-1]) if n not in sent]
        assert len(missing) == 1 == bed.box.corrupt, (at, missing, bed.box.corrupt)
        assert len(bed.box) == count - len(sent) - 1
        for name in names[1:]:  # drained segments are gone
            assert name in os.listdir("/f/outbox"), at
    # The names of the quantities: what follows has no meaning without them.
    damaged = bytearray(data)
    damaged[12] ^= 1
    with open(victim, "wb") as file:
        file.write(damaged)
    bed.boot(BOOT)
    count = int(names[1], 16)
    assert seqs(bed.drain())[0] == count + 1 and bed.box.corrupt == count


def test_a_torn_end_is_counted_and_written_behind_no_more():
    bed = Bed()
    bed.take_readings(26)
    path = "/f/outbox/" + os.listdir("/f/outbox")[0]
    with open(path, "rb") as file:
        data = file.read()
    for cut in (1, 6, 7, 30, 42, 43):  # a reading takes 43 bytes
        with open(path, "wb") as file:
            file.write(data[:-cut])
        bed.hal.power_cut()
        bed.boot((5, 5))
        assert len(bed.box) == 25 and bed.box.corrupt == (cut < 43), cut
    bed.take_readings(13)
    sent = bed.drain()
    assert seqs(sent) == list(range(1, 26)) + list(range(1, 14)), sent


def test_strange_files_and_an_empty_segment():
    bed = Bed()
    bed.take_readings(26)
    with open("/f/outbox/notes.txt", "w") as file:
        file.write("?")
    with open("/f/outbox/0000001a", "w"):  # the power was cut when it had just been made
        pass
    bed.power_cut()
    assert len(bed.box) == 26
    bed.take_readings(13)
    assert len(bed.drain()) == 39


def test_a_flash_that_fails_costs_only_the_oldest():
    bed = Bed()
    bed.take_readings(13)
    bed.flash.fail = 5  # EIO
    bed.take_readings(100)
    box = bed.box
    assert box.fault and box.dropped > 30, (box.fault, box.dropped)
    assert len(box) + box.dropped == 113
    bed.flash.fail = 0
    bed.take_readings(3)  # the next attempt comes after a minute
    assert not box.fault
    bed.box.flush()
    bed.power_cut()
    sent = seqs(bed.drain())
    assert sent == list(range(1, 14)) + list(range(117 - len(sent) + 13, 117)), sent
    assert len(sent) + box.dropped == 116


def test_a_full_file_system_gives_the_newest_the_room_of_the_oldest():
    bed = Bed(blocks=12)  # far under the limit of the queue
    bed.take_readings(1000)
    assert len(bed.box) + bed.box.dropped == 1000 and len(bed.box) > 300, len(bed.box)
    sent = seqs(bed.drain())
    assert sorted(sent) == list(range(1001 - len(sent), 1001))


def test_the_heap_does_not_grow_with_the_queue():
    bed = Bed()
    used = []
    for _ in range(2):
        for _ in range(13):
            bed.take_readings(13 * 13)
        gc.collect()
        used.append(gc.mem_alloc())
    assert len(bed.box) > 4000
    assert used[1] - used[0] < 600, used  # 23 segments more, a number each
    bed.boot((4, 1))
    gc.collect()
    assert gc.mem_alloc() - used[1] < 2500, "loaded without being read"


def test_a_full_heap_costs_a_reading_not_the_node():
    bed = Bed()
    hog = []
    try:
        while True:
            hog.append(bytearray(64))
    except MemoryError:
        pass
    for seq in range(1, 300):
        bed.box.append(seq, seq * 1000, VALUES)
    hog = None
    gc.collect()
    sent = seqs(bed.drain())
    assert len(set(sent)) + bed.box.dropped == len(sent) + bed.box.dropped == 299


def test_sensors_come_and_go():
    bed = Bed()
    shapes = [{"a": 1.0}, {"a": 1.0, "b": 2.0}, {"b": 2.0}, {"c": 0.5, "a": 1.0}]
    for n in range(1, 400):
        bed.box.append(n, n * 1000, shapes[n % 4])
        bed.box.step(False)
    bed.box.flush()
    bed.power_cut()
    for n in range(1, 400):
        boot, seq, ms, epoch, values, _ = bed.box.take()
        assert (boot, seq, ms, values) == (BOOT, n, n * 1000, shapes[n % 4])
        bed.box.sent(0)
    assert bed.box.take() is None and len(bed.box) == 0


def test_quantities_are_never_taken_for_others():
    # The lower 16 bits of the checksums of these names are the same.
    alike = (
        ("air_temperature", "relative_humidity", "soil_moisture", "ph"),
        ("air_temperature", "soil_moisture", "orp", "signal_strength"),
    )
    bed = Bed()
    for n in range(1, 9):
        bed.box.append(n, n * 1000, {name: float(n) for name in alike[n % 2]})
        if n % 4 == 0:
            bed.box.flush()
    for n in range(1, 9):
        values = bed.box.take()[4]
        assert values == {name: float(n) for name in alike[n % 2]}, (n, values)
        bed.box.sent(0)


def test_too_many_quantities_are_refused_and_counted():
    bed = Bed()
    bed.box.append(1, 1000, {"quantity_%d" % i: 1.0 for i in range(200)})
    bed.box.append(2, 2000, VALUES)
    assert bed.box.dropped == 1 and seqs(bed.drain()) == [2]
