"""The node's pins and sensors, and what can go wrong with them."""

from .world import HOUR, Dice, PowerCut

_WAVE_MS = 4 * HOUR


class Output:
    """An actuator's pin, `table` of node.json: when it is on, and for how long it may be."""

    def __init__(self, table):
        self.table = table
        self.off_level = 1 if table.get("active_low") else 0
        self.since = None
        self.stopped = None  # when it last went off
        self.limit_ms = 0
        self.commanded = False
        self.day = -1
        self.day_ms = 0  # on time in that day
        self.day_wrong = False  # the clock was, at a run of that day


class Board:
    def __init__(self, world):
        self.world = world
        self.model = None
        self._dice = Dice(world.seed, 5)
        self.levels = {}
        self.outputs = {}
        self.edges = {}
        self.nvs = {}
        self.rtc = b""
        self.tenths = {}  # quantity -> what its sensor shows, an int on its own scale
        self.slow = None  # the quantity that does not jump
        self.adcs = {}  # pin -> quantity
        self.loses_alarms = False
        self.fails = ()  # quantities whose sensor does not answer
        self.hang_ms = 0  # the next look at a sensor takes that long
        self.crash = False  # the next look at a sensor finds no memory
        self.crashed = False

    def next_values(self):
        dice = self._dice
        for name in self.tenths:
            self.tenths[name] = dice.between(10, 130)
        if self.slow:  # up and down in some hours, with noise
            at = self.world.now % _WAVE_MS
            at = min(at, _WAVE_MS - at) * 2
            self.tenths[self.slow] = 20 + 100 * at // _WAVE_MS + dice.between(-3, 3)

    def drive(self, number, level):
        if not self.world.powered:
            raise PowerCut
        self.levels[number] = level
        output = self.outputs.get(number)
        if output is None:
            return
        on = level != output.off_level
        if on and output.since is None:
            output.since = self.world.now
            self.model.on_start(output)
        elif not on and output.since is not None:
            ran_ms = self.world.now - output.since
            output.since = None
            self.model.on_stop(output, ran_ms)

    def reset(self, cause):
        """The chip lets go of its pins; the relay boards' resistors put them off."""
        if cause == "power":
            self.rtc = b""
        self.levels = {}
        self.edges = {}
        for output in self.outputs.values():
            if output.since is not None:
                ran_ms = self.world.now - output.since
                output.since = None
                self.model.on_stop(output, ran_ms)

    def adc(self, number):
        name = self.adcs[number]
        self.trouble()
        if name in self.fails:
            return 4095  # open
        return self.tenths[name]

    def bus(self):
        self.trouble()
        if "bus" in self.fails:
            raise OSError(116)

    def trouble(self):
        if self.hang_ms:
            ms, self.hang_ms = self.hang_ms, 0
            self.world.sleep(ms)
        if self.crash:
            self.crash = False
            self.crashed = True
            raise MemoryError("memory allocation failed (soak)")
