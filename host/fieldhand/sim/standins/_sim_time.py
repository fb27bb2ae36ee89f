"""The rarer parts of `time`."""

import time

localtime = time.gmtime


def time_ns():
    return time._us() * 1000


def mktime(t):
    y, mo, d, h, mi, s = t[:6]
    y += (mo - 1) // 12
    mo = (mo - 1) % 12 + 1
    if mo < 3:
        y -= 1
        mo += 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * mo - 457) // 5 + d - 730426
    return ((days * 24 + h) * 60 + mi) * 60 + s
