"""One node in virtual time: `micropython run.py DIALECT SEED HOURS [MUTATION]`.

The last line of the output is "SOAK " and a JSON object, see `virtual.summary`.
"""

import json
import os
import sys
import time as wall

HERE = __file__.rpartition("/")[0]
if HERE not in sys.path:
    sys.path.insert(0, HERE or ".")

from virtual.bench import Bench  # noqa: E402

if __name__ == "__main__":
    began = wall.ticks_ms()
    bench = Bench(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
    found = bench.run()
    found["wall_s"] = wall.ticks_diff(wall.ticks_ms(), began) / 1000
    os.chdir("/")
    print("SOAK " + json.dumps(found))
