"""Flash wear of a node that is offline, at the defaults, and of draining what it kept: JSON."""

import json

from fake_node import FakeHal, FakeTime
from flash import Flash

from fieldnode.clock import Clock
from fieldnode.outbox import Outbox

READINGS = 5000
INTERVAL_MS = 30000

flash = Flash(96).format().mount("/f")
time = FakeTime(0)
clock = Clock(time)
outbox = Outbox(clock, FakeHal(time), (1, 1), 262144, 360, "/f/outbox")
flash.erases = flash.programs = 0
for seq in range(1, READINGS + 1):
    time.advance(INTERVAL_MS)
    values = {"soil_moisture": 41.5, "air_temperature": 24.3, "relative_humidity": 55.0}
    outbox.append(seq, clock.ms(), values)
    outbox.step(False)
offline, programs, flash.erases = flash.erases, flash.programs, 0
while outbox.take():
    outbox.sent(1)
    outbox.acknowledged(1)
print(
    json.dumps(
        {
            "erases_per_offline_reading": offline / READINGS,
            "programs_per_offline_reading": programs / READINGS,
            "erases_per_drained_reading": flash.erases / READINGS,
        }
    )
)
