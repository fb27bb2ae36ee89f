# In a frozen image, in place of MicroPython's own, which stops where the file system is damaged.
import gc

from flashbdev import bdev

from fieldnode import flash

if bdev:
    flash.mount(bdev)
gc.collect()
