"""Virtual time, chance and power: what everything else of the soak moves in.

Time passes only where the node sleeps, waits for its socket or blocks in a driver. Milliseconds are
ints since the start of the soak; the node sees ticks that wrap, as an ESP32's.
"""

from heapq import heappop, heappush

EPOCH = 1767225600  # Unix seconds at the start: 2026-01-01T00:00:00Z
MINUTE = 60000
HOUR = 3600000
DAY = 86400000

_WRAP = 1 << 30
_SPINS = 20000  # turns of the loop without a millisecond between them: it hangs


class PowerCut(BaseException):
    """The supply is gone. No `except Exception` of the node may stop it."""


class Reset(BaseException):
    """The chip resets; `args[0]` says why: watchdog, hard, soft."""


class Spins(BaseException):
    """The node's loop turns without end."""


class Finished(BaseException):
    """The soak is over."""


class Dice:
    """Marsaglia's xorshift32: the same numbers on every version of every interpreter."""

    def __init__(self, seed, stream):
        self._state = (seed * 2654435761 + stream * 40503 + 1) & 0xFFFFFFFF or 1
        for _ in range(8):
            self.bits(32)

    def bits(self, n):
        """An int of `n` bits, at most 32."""
        x = self._state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._state = x
        return x >> (32 - n)

    def below(self, n):
        return self.bits(32) * n >> 32

    def between(self, lo, hi):
        return lo + self.below(hi - lo + 1)

    def one_in(self, n):
        return self.below(n) == 0

    def pick(self, items):
        return items[self.below(len(items))]

    def wait(self, mean):
        """A pause for events that come at random, `mean` on average: 0 to 2 * mean."""
        return 1 + self.below(2 * mean)


class World:
    def __init__(self, seed):
        self.seed = seed
        self.now = 0
        self.node_dice = Dice(seed, 1)  # what the node's own chance is made of
        self.dice = Dice(seed, 2)  # what befalls it
        self.cause = "power"  # of the last reset
        self.powered = False
        self.boots = 0
        self.turns = 0
        self.on_turn = None  # called once a turn of the node's loop
        self.on_dead = None  # called with the cause when the chip resets or loses its supply
        self._events = []
        self._n = 0
        self._spins = 0
        self._turn_at = 0
        self._ticks0 = 0
        self.booted = 0
        self._chip_2000 = 0  # when the chip's clock said 2000-01-01
        self._fed_ms = None  # the watchdog's deadline
        self._wdt_ms = 0

    # Time

    def at(self, at, call, arg=None):
        """Call `call(arg)` at the instant `at`, also while the chip is off."""
        self._n += 1
        heappush(self._events, (at, self._n, call, arg))

    def after(self, ms, call, arg=None):
        self.at(self.now + ms, call, arg)

    def run_to(self, end, ready=None):
        """Let the time pass until `end`, or until `ready()`."""
        events = self._events
        limit = end
        if self._fed_ms is not None and self._fed_ms < end:
            limit = self._fed_ms
        while events and events[0][0] <= limit:
            event = heappop(events)
            if event[0] > self.now:
                self.now = event[0]
            event[2](event[3])
            if ready is not None and ready():
                return
        if limit > self.now:
            self.now = limit
        if limit < end:
            self.die("watchdog")

    def sleep(self, ms):
        if not self.powered:
            raise PowerCut
        self.run_to(self.now + max(ms, 0))

    def ticks_ms(self):
        return (self._ticks0 + self.now - self.booted) % _WRAP

    def calm(self):
        """Half of the days are without resets, so that memory has time to show where it goes."""
        return (self.now // DAY + self.seed) % 4 >= 2

    def chip_seconds(self):
        """Since 2000: of a clock that goes on through resets and begins anew with the power."""
        return (self.now - self._chip_2000) // 1000

    def set_chip_clock(self, seconds):
        self._chip_2000 = self.now - seconds * 1000

    def epoch(self, ms=None):
        """True Unix seconds, whatever the node believes."""
        return EPOCH + (self.now if ms is None else ms) // 1000

    # Power

    def start(self):
        """The chip starts; the caller runs the node."""
        self.boots += 1
        self.powered = True
        self.booted = self.now
        if self.cause == "power":
            self._chip_2000 = self.now
        self._fed_ms = None
        # Half of the boots see the ticks wrap within the hour, as they do on day 12.
        self._ticks0 = self.dice.pick((0, _WRAP - self.dice.below(HOUR)))
        self._turn_at = self.now
        self._spins = 0

    def die(self, cause):
        """The chip stops here: "power", "watchdog", "hard" or "soft". Does not return."""
        if self.powered:
            self.powered = False
            self.cause = cause
            self._fed_ms = None
            if self.on_dead is not None:
                self.on_dead(cause)
        raise PowerCut if cause == "power" else Reset(cause)

    def watch(self, ms):
        self._wdt_ms = ms
        self._fed_ms = self.now + ms

    def feed(self):
        if not self.powered:
            raise PowerCut
        self._fed_ms = self.now + self._wdt_ms
        self.turns += 1
        if self.now > self._turn_at:
            self._turn_at = self.now
            self._spins = 0
        else:
            self._spins += 1
            if self._spins > _SPINS:
                raise Spins
        if self.on_turn is not None:
            self.on_turn()
