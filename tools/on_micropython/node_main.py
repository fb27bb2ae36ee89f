"""main.py of a measured node: the real node, which also prints what `tools/bench_node.py` reads.

READING seq ns: when a reading was taken (Unix ns). HEAP in_use per_reading: bytes after a
collection, and allocated for one reading from sensors to socket.
"""

import gc
import json

import utime

from fieldnode import sampler
from fieldnode.assemble import build
from fieldnode.crashes import Crashes
from fieldnode.hal import Hal
from fieldnode.identity import NAMESPACE
from fieldnode.memory import forget

INTERVAL_MS = 50
READINGS = 200

hal = Hal()
nvs = hal.nvs(NAMESPACE)
with open("node.json") as file:
    config = json.load(file)
node, watchdog = build(config, None, hal, nvs, Crashes(nvs, hal.reset_cause()))
config = nvs = None
forget("fieldnode", "identity", "assemble")
build = None

append = node.outbox.append


def noted(seq, ms, values):
    print("READING", seq, utime.time_ns())
    append(seq, ms, values)


def turn():
    watchdog.feed()
    node.link.wait(node.step())


while not node.link.up:
    turn()
node.outbox.append = noted
node.sampler.set_interval(INTERVAL_MS)
while node.seq < READINGS:
    turn()
node.outbox.append = append
while len(node.outbox):
    turn()


class Quiet:
    """In place of the sampler's `gc`: it would collect what is to be counted."""

    @staticmethod
    def collect():
        pass


# One reading at a time, its PUBACK included.
sampler.gc = Quiet
gc.collect()
in_use = gc.mem_alloc()
costs = []
for _ in range(20):
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    seq = node.seq
    node.sampler.sample_now()
    while node.seq == seq or len(node.outbox):
        node.step()
    costs.append(gc.mem_alloc() - before)
    gc.enable()
sampler.gc = gc
costs.sort()
print("HEAP", in_use, costs[len(costs) // 2])
node.sampler.set_interval(1000)
node.run(watchdog)
