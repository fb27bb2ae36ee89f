"""Lines on the console: level, seconds since boot, text."""

import sys
import time


def line(level, text):
    print("%s %d.%03d %s" % (level, time.ticks_ms() // 1000, time.ticks_ms() % 1000, text))


def info(text):
    line("I", text)


def warning(text):
    line("W", text)


def exception(error):
    """The traceback of what should not have happened."""
    line("E", "internal error:")
    sys.print_exception(error)
