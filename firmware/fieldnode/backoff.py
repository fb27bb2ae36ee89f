"""How long to wait before the next attempt: exponential, with full jitter.

A thousand nodes lose their broker in the same second; the jitter is what lets them all back in.
"""

from micropython import const

BASE_MS = const(1000)
CAP_MS = const(120000)
STABLE_MS = const(60000)  # a connection that held this long makes the next wait short again
_MAX_DOUBLINGS = const(16)


class Backoff:
    def __init__(self, getrandbits, base_ms=BASE_MS, cap_ms=CAP_MS, stable_ms=STABLE_MS):
        """`getrandbits(n)` gives n random bits, as `random.getrandbits`."""
        self.failures = 0
        self.getrandbits = getrandbits
        self.base_ms = base_ms
        self.cap_ms = cap_ms
        self.stable_ms = stable_ms

    def next_ms(self):
        """Ms to wait after one more failure: anything below a ceiling that doubles each time."""
        ceiling = min(self.cap_ms, self.base_ms << min(self.failures, _MAX_DOUBLINGS))
        self.failures += 1
        return ceiling * self.getrandbits(16) >> 16

    def held(self, ms):
        """Tell how long the connection has held; forgets the failures once it is stable."""
        if ms >= self.stable_ms:
            self.failures = 0
