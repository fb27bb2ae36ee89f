# heapsize: 4M
# timeout: 240
"""The power is cut at every program and every erase; what was durable is there, once, in order.

At each of them the flash is copied as the cut leaves it, the operation under way done in part or
not at all, and a node that starts on the copy is looked into. The first run goes on meanwhile.
"""

import os
import sys

from fake_node import FakeHal, FakeTime
from flash import Flash

from fieldnode.clock import Clock
from fieldnode.outbox import Outbox

BOOT = (1, 0xABCD)
NEXT = (2, 0x1234)
READINGS = 500
FLUSH_S = 360
INTERVAL_MS = 30000


def values_of(seq):
    """Every reading has its own, so that a mixture of two would show."""
    return {"soil_moisture": seq * 0.25, "ph": seq + 0.5, "tds": -1.0 * seq}


class Run:
    def __init__(self, blocks, queue):
        self.time = FakeTime(0)
        self.clock = Clock(self.time)
        self.queue = queue
        self.seq = self.durable = 0
        self.cuts = self.lost = 0
        self.failed = None  # the first fault found
        self.flash = Flash(blocks).format().mount("/f")
        self.box = Outbox(self.clock, FakeHal(self.time), BOOT, queue, FLUSH_S, "/f/outbox")
        self.flash.programs = self.flash.erases = 0
        self.flash.before = self.cut

    def cut(self, flash):
        self.cuts += 1
        size = flash.pending()
        for done in (0, 1 + self.cuts * 37 % (size - 1)):
            if self.failed is None:
                try:
                    self.look(flash.torn(done))
                except Exception as error:  # littlefs, which called, cannot be raised through
                    self.failed = error
                    sys.print_exception(error)

    def look(self, flash):
        flash.mount("/c")
        hal = FakeHal(self.time)
        box = Outbox(self.clock, hal, NEXT, self.queue, FLUSH_S, "/c/outbox")
        found = []
        count = len(box)
        for boot, seq, ms in taken(box):
            assert boot == BOOT and ms == seq * INTERVAL_MS, (boot, seq, ms)
            found.append(seq)
        assert not box.corrupt, "littlefs had promised a file as it was or as it became"
        first = found[0] if found else self.durable + 1
        assert found == list(range(first, first + len(found))) and count == len(found), found
        assert first <= self.box._backlog.floor() + 1, (first, self.box._backlog.floor())
        last = first + len(found) - 1
        assert last == self.durable or last == self.seq, (last, self.durable, self.seq)
        self.lost = max(self.lost, self.seq - last)
        # And it goes on.
        for seq in range(1, 4):
            box.append(seq, seq * INTERVAL_MS, values_of(seq))
        assert box.flush()
        box = Outbox(self.clock, FakeHal(self.time), NEXT, self.queue, FLUSH_S, "/c/outbox")
        again = [(boot, seq) for boot, seq, _ in taken(box)]
        assert again[-3:] == [(NEXT, 1), (NEXT, 2), (NEXT, 3)], again
        seqs = [seq for _, seq in again[:-3]]
        if len(seqs) > len(found):  # the mark of an orderly reset serves once
            seqs = seqs[len(seqs) - len(found) :]
        assert seqs == found[len(found) - len(seqs) :], "room for three may cost the oldest segment"
        assert len(found) - len(seqs) <= 200
        os.umount("/c")

    def take_readings(self):
        for _ in range(READINGS):
            self.time.advance(INTERVAL_MS)
            self.seq += 1
            self.box.append(self.seq, self.clock.ms(), values_of(self.seq))
            self.box.step(False)
            if not self.box.batch.entries:
                self.durable = self.seq

    def done(self):
        """Raises what was found on the way."""
        if self.failed is not None:
            raise self.failed

    def drain(self):
        while True:
            pids = []
            while len(pids) < 16 and self.box.take():
                pids.append(self.seq + len(pids))
                self.box.sent(pids[-1])
            if not pids:
                return
            for pid in pids:
                self.box.acknowledged(pid)


def taken(box):
    """(boot, seq, ms) of all that waits; each is complete."""
    found = box.take()
    while found:
        boot, seq, ms, epoch, values, again = found
        assert values == values_of(seq) and not epoch, found
        yield boot, seq, ms
        box.sent(len(values))  # on its way, not acknowledged: nothing is removed
        found = box.take()


def test_a_power_cut_at_every_write_of_500_readings():
    run = Run(blocks=24, queue=65536)
    run.take_readings()
    run.done()
    assert run.cuts == run.flash.programs + run.flash.erases > READINGS, run.cuts
    assert 0 < run.lost <= FLUSH_S * 1000 // INTERVAL_MS + 1, run.lost
    print("%d cuts, at most %d readings lost" % (run.cuts, run.lost))


def test_a_power_cut_at_every_write_while_the_oldest_are_dropped():
    run = Run(blocks=24, queue=16384)
    run.take_readings()
    run.done()
    assert run.box.dropped > 100


def test_a_power_cut_at_every_write_while_the_queue_drains():
    run = Run(blocks=24, queue=65536)
    run.flash.before = None
    run.take_readings()
    run.box.flush()
    run.durable = run.seq
    run.flash.before = run.cut
    for _ in range(60):
        run.box.take()
        run.box.sent(1)
        run.box.acknowledged(1)
    run.box.close()
    run.drain()
    run.done()
    assert run.cuts >= 7 and len(run.box) == 0, run.cuts  # the mark, and a segment each
