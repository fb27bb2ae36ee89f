"""A virtual board: an ESP32 DevKit on a USB cable that is not there.

```python
from fieldhand.virtual import VirtualBoard

with VirtualBoard("esp32") as board:
    print(board.port)  # rfc2217://127.0.0.1:40123, for esptool and mpremote
```
"""

from fieldhand.virtual.board import VirtualBoard
from fieldhand.virtual.runtime import running

__all__ = ["VirtualBoard", "running"]
