"""A queue of readings as a node leaves it that was offline for long: in ./outbox.

`fill_outbox.py COUNT`: boot 1-0001 takes them, one every 30 s, and restarts.
"""

import sys

from fieldnode.clock import Clock
from fieldnode.outbox import Outbox

INTERVAL_MS = 30000


class Time:
    """Passes when told to."""

    now = 0

    def ticks_ms(self):
        return self.now

    def ticks_diff(self, a, b):
        return a - b

    def sleep_ms(self, ms):
        self.now += ms


class Hal:
    def rtc_memory(self, data=None):
        return b""


time = Time()
clock = Clock(time)
outbox = Outbox(clock, Hal(), (1, 1), 262144, 360)
for seq in range(1, int(sys.argv[1]) + 1):
    values = {"soil_moisture": seq % 100, "air_temperature": 24.3, "relative_humidity": 55.0}
    outbox.append(seq, clock.ms(), values)
    outbox.step(False)
    time.sleep_ms(INTERVAL_MS)
outbox.close()
assert len(outbox) == int(sys.argv[1]), outbox.dropped
