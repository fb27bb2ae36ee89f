"""A virtual board: an ESP32 DevKit on a USB cable that is not there.

```python
from fieldhand.virtual import VirtualBoard

with VirtualBoard("esp32", flash="flash.bin") as board:
    print(board.port)  # rfc2217://127.0.0.1:40123, for esptool, mpremote and pyserial
```

Two ports show one UART. `port` has the reset lines: DTR and RTS work EN and IO0 as the DevKit's two
transistors do. `pty` has none, as no pseudo-terminal does; there, a SYNC packet of esptool stands
for the reset with the BOOT button held, and closing the port while in download mode for the reset
afterwards. The network port takes one connection at a time; a second one gets no answer, which
pyserial words after 3 s as "Remote does not seem to support RFC2217".

Real: what esptool and mpremote send and get; the flash, a file that holds what was written when the
power fails; bootloader, partition table and program checked before they run; the file system and
NVS in that flash; boot.py, main.py, the REPL in all its modes; reset causes and their messages on
the console; pins, timers, watchdog, sensors of the simulator (`fieldhand.sim`).

Different from a board on a desk:

- The program's machine code is not run. MicroPython is this machine's (`micropython`, 1.28 or
  newer), 64 bits wide: objects and heap are twice as large, floats are doubles, code is some 50
  times as fast. `sys.implementation` is that of what was flashed; the banner is not,
  and there is no `os.uname()`.
- Frozen modules are dht, ds18x20, ntptime, onewire and umqtt.simple, and what the unix port has; no
  bluetooth, espnow, neopixel, aioespnow, webrepl.
- Sockets, DNS and TLS are this machine's. Wi-Fi decides what `network.WLAN` says, not whether
  packets pass; the access point in range takes any name and password until `access_point` says
  which.
- UART: any speed will do, and none is slow. The chip boots at once. The capacitor at EN is larger,
  since network ports change DTR and RTS 50 ms apart.
- ROM: no `soft-reset` of esptool, no efuses but the MAC, no security, no RAM to run code in; the
  flasher stub is esp32-mock-bootloader's. The USB port in the S3 and the C3 is not there: theirs is
  the UART's.
- `esp32.Partition` reads, writes and finds; updates over the air and `set_boot` are refused.
- Sleep: `lightsleep` is a pause. A pin does not wake the chip.
- A cut closes the sockets, so a broker knows at once, where it waits for the keepalive of a board.
"""

from fieldhand.virtual.board import VirtualBoard
from fieldhand.virtual.runtime import running

__all__ = ["VirtualBoard", "running"]
