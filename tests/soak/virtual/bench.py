"""The soak of one node: power it up, let things happen, see what was true."""

import json
import os
import sys

from . import standins
from .board import Board, Output
from .broker import Broker
from .faults import Faults
from .flash import Flash
from .fleet import Spec
from .model import Model
from .net import Air, Net
from .traffic import Traffic
from .world import DAY, HOUR, MINUTE, Finished, PowerCut, Reset, Spins, World

MOUNT = "/soak"
BLOCKS = 128  # of flash: 512 KiB, the smallest file system of an ESP32 with 4 MB is 2 MB
BOOT_MS = 2500  # from reset to main.py on an ESP32 that compiles the firmware
RECOVERY_MS = 4 * HOUR  # for what waits, once everything is well again
BACK_MS = 10 * MINUTE  # longest backoff, the deadlines of an attempt, and a few attempts
_LOG_LINES = 40


class Bench:
    def __init__(self, dialect, seed, hours, mutations=()):
        self.dialect = dialect
        self.world = world = World(seed)
        self.mutations = mutations
        self.end = int(hours * HOUR)
        self.board = Board(world)
        self.spec = Spec(dialect, self.board)
        self.air = Air()
        self.model = Model(world, self.air, self.spec)
        self.board.model = self.model
        for entry in self.spec.config["actuators"]:
            self.board.outputs[entry["pin"]] = Output(entry)
        self.broker = Broker(world, self.air, self.model, self.spec.node)
        self.net = Net(world, self.air, self.broker)
        self.flash = Flash(world, BLOCKS)
        standins.install(world, self.air, self.net, self.board, self.model)
        self.faults = Faults(
            world, self.air, self.broker, self.board, self.net, self.flash, self.model
        )
        self.traffic = Traffic(world, self.broker, self.model, self.spec)
        self.flash.on_full = self.model.flash_full
        self._quiet_since = None
        self._down_since = 0
        world.on_turn = self._turn
        world.on_dead = self._dead
        self.flash.mount(MOUNT)
        os.chdir(MOUNT)
        with open("node.json", "w") as file:
            json.dump(self.spec.config, file)
        self._unmount()
        self.world.at(self.end, self._all_well)

    def run(self):
        """Run it to its end; the figures, see `_summary`."""
        while True:
            try:
                self._boot()
                self.model.found("main.py ended")
                break
            except PowerCut:
                self._settle(self.world.dice.pick((500, 5000, 60000, 20 * MINUTE)))
            except Reset:
                self._settle(100)
            except Finished:
                break
            except Spins as error:
                sys.print_exception(error)
                self.model.found("the node's loop turns without end")
                break
        self.model.finish()
        return self._summary()

    def _boot(self):
        for name in list(sys.modules):
            if name.partition(".")[0] in ("fieldnode", "fieldproto"):
                del sys.modules[name]
        self.world.start()
        self.flash.mount(MOUNT)
        os.chdir(MOUNT)
        self.world.sleep(BOOT_MS)
        log = __import__("fieldnode.log", None, None, ("line",))
        log.line = self._line
        assemble = __import__("fieldnode.assemble", None, None, ("build",))
        build = assemble.build

        def hooked(*args):
            node, watchdog = build(*args)
            self._attach(node)
            return node, watchdog

        assemble.build = hooked
        __import__("fieldnode.start", None, None, ("main",)).main()

    def _attach(self, node):
        model = self.model
        model.attach(node)
        self._down_since = self.world.now
        take = node.sampler._on_reading

        def on_reading(ms, values):
            copy = dict(values)
            take(ms, values)
            model.on_reading(ms, copy)

        node.sampler._on_reading = on_reading
        for name in self.mutations:
            __import__("virtual.mutations", None, None, (name,)).apply(name, node, self)

    def _settle(self, off_ms):
        """The chip is down for so long."""
        self._unmount()
        sock = self.net.sock
        if sock is not None:
            sock.dead = True  # without a word: half open
        self.net.sock = None
        self.world.run_to(self.world.now + off_ms)

    def _unmount(self):
        import vfs

        os.chdir("/")
        try:
            vfs.umount(MOUNT)
        except OSError:
            pass

    def _dead(self, cause):
        self.board.crashed = False
        self.board.reset(cause)
        self.model.detach(cause)
        self.flash.cut_in = 0

    def _line(self, level, text):
        log = self.model.log
        if len(log) >= _LOG_LINES:
            log.pop(0)
        log.append("%s %.3f %s" % (level, self.world.now / 1000, text))
        if level == "E" and not self.board.crashed:
            self.model.found(text)

    def _turn(self):
        self.model.turn()
        if self.model.node.link.up or not self.faults.quiet():
            self._down_since = self.world.now
        elif self.world.now - self._down_since > BACK_MS:
            self.model.found(
                "no connection for %d min, and nothing in its way" % (BACK_MS // MINUTE)
            )
            self._down_since = self.world.now
        if self._quiet_since is None:
            return
        node = self.model.node
        now = self.world.now
        if node.link.up and not len(node.outbox) and not len(node.notices):
            if now - self._quiet_since > MINUTE:
                raise Finished
        elif now - self.end > RECOVERY_MS:
            self.model.found("not recovered in %d h" % (RECOVERY_MS // HOUR))
            raise Finished

    def _all_well(self, _):
        self.faults.stop()
        self.traffic.on = False
        self._quiet_since = self.world.now

    def _summary(self):
        model = self.model
        world = self.world
        slope = model.slope()
        return {
            "dialect": self.dialect,
            "seed": world.seed,
            "hours": world.now / HOUR,
            "digest": "%08x" % (self.broker.digest & 0xFFFFFFFF),
            "boots": world.boots,
            "turns": world.turns,
            "taken": model.taken,
            "arrived": model.arrived,
            "partial": model.partial,
            "lost": model.lost,
            "dropped": model.dropped,
            "unsendable": model.unsendable,
            "cost": model.cost,
            "longest_cost_s": model.longest_cost_ms // 1000,
            "duplicates": model.duplicates,
            "commands": model.commands,
            "resent": model.resent,
            "executed": model.executed,
            "twice": model.twice,
            "refused": model.refused,
            "unanswered": model.unanswered,
            "runs": model.runs,
            "by_itself": model.by_itself,
            "restarts": model.restarts,
            "pump_s": model.on_ms / 1000,
            "over_ms": model.over_ms,
            "longest_over_ms": model.longest_over_ms,
            "alerts": model.crossings.raised if model.crossings else 0,
            "outages": model.outages,
            "slope": slope,
            "slope_error": slope and model.slope_error(),
            "erases_day": self.flash.erases * DAY / max(world.now, 1),
            "programs_day": self.flash.programs * DAY / max(world.now, 1),
            "faults": self.faults.counts,
            "findings": model.findings,
            "found": model.found_n,
            "log": model.found_log or [],
        }
