"""What befalls a node, at random and from a seed: each fault comes, lasts, and passes."""

from .world import HOUR, MINUTE, Dice

SECOND = 1000
_RESETS = ("power_cut", "cut_at_flash", "hang", "crash")


class Faults:
    def __init__(self, world, air, broker, board, net, flash, model):
        self.world = world
        self.air = air
        self.broker = broker
        self.board = board
        self.net = net
        self.flash = flash
        self.model = model
        self.on = True
        # Of its own, as what is sent and what is measured have: when a fault comes does not depend
        # on what the node does.
        self.dice = Dice(world.seed, 3)
        self.counts = {}
        self._set = set()  # attributes that will be put back; their names are all different
        # name -> pause between two on average. A broker that never comes to rest proves nothing:
        # there is time between the faults for what they did to be made good.
        for name, mean in (
            ("broker_restarts", 3 * HOUR),
            ("broker_down", 16 * HOUR),
            ("half_open", 2 * HOUR),
            ("packets_lost", 3 * HOUR),
            ("torn_write", 2 * HOUR),
            ("wifi_gone", 4 * HOUR),
            ("wifi_zombie", 8 * HOUR),
            ("wifi_password", 24 * HOUR),
            ("no_dns", 5 * HOUR),
            ("refused", 5 * HOUR),
            ("no_connack", 6 * HOUR),
            ("no_puback", 5 * HOUR),
            ("no_pingresp", 6 * HOUR),
            ("no_ntp", 8 * HOUR),
            ("wrong_ntp", 20 * HOUR),
            ("power_cut", 5 * HOUR),
            ("cut_at_flash", 6 * HOUR),
            ("hang", 12 * HOUR),
            ("crash", 18 * HOUR),
            ("sensor", 3 * HOUR),
            ("alarms_lost", 4 * HOUR),
            ("flash_full", 20 * HOUR),
            ("slow", 2 * HOUR),
            ("fragments", 3 * HOUR),
        ):
            self.counts[name] = 0
            world.after(self.dice.wait(mean), self._begin, (name, mean))

    def stop(self):
        """Everything is well from now on."""
        self.on = False
        air, broker, board = self.air, self.broker, self.board
        air.access_point = air.password = air.dns = air.ntp = air.listening = True
        air.zombie = air.lost = False
        air.ntp_error = air.fragments = 0
        air.latency = 40
        broker.connack = broker.tear = 0
        broker.answers_connect = broker.answers_publish = broker.answers_ping = True
        board.loses_alarms = board.crash = False
        board.fails = ()
        board.hang_ms = self.flash.cut_in = 0
        self.flash.full(False)

    def quiet(self):
        """Whether nothing stands between the node and its broker."""
        air, broker = self.air, self.broker
        return (
            air.access_point
            and air.password
            and air.dns
            and air.listening
            and not (air.lost or air.zombie or broker.connack)
            and broker.answers_connect
            and broker.answers_publish
            and broker.answers_ping
        )

    def _begin(self, what):
        if not self.on:
            return
        name, mean = what
        self.world.after(self.dice.wait(mean), self._begin, what)
        if name in _RESETS and self.world.calm():
            return
        self.counts[name] += 1
        getattr(self, "_" + name)(self.dice)

    def _for(self, ms, owner, name, value):
        """Set an attribute, and back to what it was after `ms`; one that is set stays so."""
        before = getattr(owner, name)
        if name in self._set:
            return
        self._set.add(name)
        setattr(owner, name, value)
        self.world.after(ms, self._restore, (owner, name, before))

    def _restore(self, what):
        owner, name, before = what
        self._set.discard(name)
        if self.on:
            setattr(owner, name, before)

    # The way to the broker

    def _broker_restarts(self, dice):
        self.broker.stop(dice.one_in(2))
        self.world.after(dice.between(0, 20 * SECOND), self._broker_is_back)

    def _broker_down(self, dice):
        self.broker.stop(dice.one_in(2))
        self.world.after(dice.between(5 * MINUTE, 7 * HOUR), self._broker_is_back)

    def _broker_is_back(self, _):
        self.broker.start()

    def _half_open(self, dice):
        if self.net.sock is not None:
            self.net.sock.dead = True

    def _packets_lost(self, dice):
        self._for(dice.between(SECOND, 10 * MINUTE), self.air, "lost", True)

    def _torn_write(self, dice):
        self.broker.tear = dice.between(1, 300)

    def _wifi_gone(self, dice):
        self._for(dice.between(5 * SECOND, 40 * MINUTE), self.air, "access_point", False)

    def _wifi_zombie(self, dice):
        self.air.zombie = True

    def _wifi_password(self, dice):
        self._for(dice.between(MINUTE, 15 * MINUTE), self.air, "password", False)
        self._for(5 * SECOND, self.air, "access_point", False)

    def _no_dns(self, dice):
        self._for(dice.between(MINUTE, 20 * MINUTE), self.air, "dns", False)
        self._hang_up()

    def _refused(self, dice):
        self._for(dice.between(30 * SECOND, 8 * MINUTE), self.broker, "connack", dice.between(1, 6))
        self._hang_up()

    def _no_connack(self, dice):
        self._for(dice.between(30 * SECOND, 5 * MINUTE), self.broker, "answers_connect", False)
        self._hang_up()

    def _no_puback(self, dice):
        self._for(dice.between(5 * SECOND, 3 * MINUTE), self.broker, "answers_publish", False)

    def _no_pingresp(self, dice):
        self._for(dice.between(MINUTE, 10 * MINUTE), self.broker, "answers_ping", False)

    def _hang_up(self):
        if self.broker.link is not None:
            self.broker.link.drop(True)

    def _slow(self, dice):
        self._for(dice.between(MINUTE, HOUR), self.air, "latency", dice.pick((5, 300, 1500, 4000)))

    def _fragments(self, dice):
        self._for(dice.between(MINUTE, HOUR), self.air, "fragments", dice.pick((1, 1, 2, 7)))

    def _no_ntp(self, dice):
        self._for(dice.between(10 * MINUTE, 12 * HOUR), self.air, "ntp", False)

    def _wrong_ntp(self, dice):
        error = dice.between(1, 3600) * dice.pick((1, -1))
        self._for(dice.between(HOUR, 30 * HOUR), self.air, "ntp_error", error)

    # The node itself

    def _power_cut(self, dice):
        if self.world.powered:
            self.world.die("power")

    def _cut_at_flash(self, dice):
        self.flash.cut_in = dice.between(1, 40)

    def _hang(self, dice):
        self.board.hang_ms = 2 * HOUR

    def _crash(self, dice):
        self.board.crash = True

    def _sensor(self, dice):
        which = dice.pick([("bus",), tuple(self.model.spec.marks[:1])])
        self._for(dice.between(30 * SECOND, 20 * MINUTE), self.board, "fails", which)

    def _alarms_lost(self, dice):
        self._for(dice.between(5 * MINUTE, HOUR), self.board, "loses_alarms", True)

    def _flash_full(self, dice):
        self.flash.full(True)
        self.world.after(dice.between(MINUTE, 40 * MINUTE), self._flash_has_room)

    def _flash_has_room(self, _):
        self.flash.full(False)
