"""What a board prints as it starts, and what of it tells how it fares.

The lines of the ROM and of the bootloader: ESP-IDF Programming Guide, "Fatal Errors"; esptool's
documentation, "Boot Log". That of the damaged file system is MicroPython's (ports/esp32
inisetup.py), the log's are `fieldnode`'s.
"""

from __future__ import annotations

import re

# Each start of the chip, and why it started.
RESET = re.compile(r"\brst:0x[0-9a-f]+ \((\w+)\)")
DOWNLOAD = re.compile(r"waiting for download|DOWNLOAD_BOOT|\(DOWNLOAD\(")
NO_PROGRAM = re.compile(r"invalid header: 0x|flash read err|ets_loader")
DAMAGED_PROGRAM = re.compile(
    r"No bootable app|hash failed|Checksum failed|has invalid|partition table error"
)
BROWNOUT = re.compile(r"Brownout detector")
CRASH = re.compile(r"Guru Meditation Error|abort\(\) was called")
DAMAGED_FILES = re.compile(r"filesystem appears to be corrupted")
# A line of the node's own log; `uptime` is in seconds.
LOGGED = re.compile(r"^(?P<level>[EWI]) (?P<uptime>\d+\.\d{3}) (?P<text>.*)$", re.MULTILINE)
