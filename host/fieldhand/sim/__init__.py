"""The simulator: real firmware, MicroPython processes, simulated hardware and a small world.

```python
from fieldhand.sim import Simulator

with Simulator(broker=("127.0.0.1", 1883)) as sim:
    node = sim.add(config)  # the contents of node.json
    node.start()
    node.wait_console("online", timeout=10)
    node.world.soil_moisture = 20
```
"""

from .node import Faults, Node
from .simulator import Simulator
from .wiring import AnalogInput, Output, PulseInput, Wiring, derive
from .world import World

__all__ = [
    "AnalogInput",
    "Faults",
    "Node",
    "Output",
    "PulseInput",
    "Simulator",
    "Wiring",
    "World",
    "derive",
]
