"""The constants of the stand-ins' classes that our firmware does not name.

For programs of one's own: the simulator has them set when a node comes with its own main.py.
"""

from machine import ADC, Pin, Timer
from network import WLAN
from onewire import OneWire

Pin.PULL_DOWN = 1
Pin.IRQ_FALLING = 2
Pin.WAKE_LOW = 4
Pin.WAKE_HIGH = 5
Pin.DRIVE_0 = 0
Pin.DRIVE_1 = 1
Pin.DRIVE_2 = 2
Pin.DRIVE_3 = 3

ADC.ATTN_0DB = 0
ADC.ATTN_2_5DB = 1
ADC.ATTN_6DB = 2
ADC.WIDTH_9BIT = 9
ADC.WIDTH_10BIT = 10
ADC.WIDTH_11BIT = 11
ADC.WIDTH_12BIT = 12

Timer.ONE_SHOT = 0

WLAN.IF_STA = 0
WLAN.IF_AP = 1
WLAN.SEC_OPEN = 0
WLAN.SEC_WPA2 = 3
WLAN.PM_NONE = 0
WLAN.PM_PERFORMANCE = 1
WLAN.PM_POWERSAVE = 2

OneWire.SEARCH_ROM = 0xF0
OneWire.SKIP_ROM = 0xCC
