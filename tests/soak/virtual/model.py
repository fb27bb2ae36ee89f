"""What must be true of a node, known from outside it: at its sensors, its pins and its broker."""

import gc
import json
import math
from array import array

from .crossings import Crossings
from .world import DAY, HOUR, MINUTE

LATE_MS = 250  # an alarm that got lost is made good by the loop: actuators._LATE_MS and one turn
HUNG_LATE_MS = 550  # while the loop hangs only the timer makes it good: hal._REPEAT_MS, twice
STALL_MS = 20000  # a reading may be late by a name look-up, an NTP timeout, a slow sensor
CLOCK_S = 3  # what a reading's wall time may be off: whole seconds, on both ends, and NTP's way
MAX_SLOPE = 30  # bytes an hour on this 64-bit machine: 10 kB in a month on the chip
_FINDINGS = 30
_BUDGET_LATE_MS = 5000  # by a day's alarms that came late
_BURST = 8  # commands in ten seconds
_MOST = 200  # of them are kept
_POINTS = 12  # hours of a boot from which its memory is looked at


class Model:
    def __init__(self, world, air, spec):
        self.world = world
        self.air = air
        self.spec = spec  # a `fleet.Spec`
        self.node = None
        self.log = []  # the node's last lines
        self.found_log = None  # what they were when something was first found
        self.findings = []
        self.found_n = 0
        # Readings
        self.taken = self.arrived = self.partial = self.duplicates = self.lost = 0
        self.cost = 0  # readings that power cuts and resets took, as documented
        self.longest_cost_ms = 0
        self.dropped = self.unsendable = 0  # as the node counted them, over all boots
        self.reported_dropped = 0
        self._owed = {}  # boot index << 32 | seq -> instant in ms << 32 | fingerprint
        self._at_risk = {}  # key -> (the same, age in ms at the cut that may have taken it)
        self._given_up = 0  # dropped or unsendable by the node's own count, and found missing
        self._away_ms = 0  # in all, what no boot can know: how long nothing was kept
        self._away = {}  # boot index -> what that was when the boot began
        self._cut_at = 0
        self._full_until = -1  # the flash took nothing until then
        self._unread = {}  # key of a reading whose PUBACK the node has not read
        self._boots = {}  # boot id -> index
        self._boot = 0
        self._last_ms = None  # instant of the last reading
        self.crossings = Crossings(world, spec, self.found) if spec.watched else None
        self._interval_ms = spec.interval_ms
        self._clock_errors = []  # (instant, seconds) of wrong answers of the time server
        # Commands
        self.commands = self.executed = self.refused = self.twice = self.unanswered = 0
        self.resent = 0
        self._open = []
        self._last_read = self._restart = None
        self._burst = self._burst_at = 0
        # Pumps
        self.runs = 0
        self.over_ms = 0
        self.longest_over_ms = 0
        self.on_ms = 0
        self.by_itself = 0
        self.restarts = 0
        self._turned_at = 0
        self._up_at = 0  # when the link was up last
        # The node
        self.outages = 0
        self._hours = array("i", [0] * _MOST)  # seconds since boot, once an hour
        self._bytes = array("i", [0] * _MOST)  # in use by then
        self._n = 0  # of both
        self._over = self._under = self._spread = 0.0  # of the slope
        self._points = 0
        self._hour = 0

    def found(self, text):
        self.found_n += 1
        if not self.found_log:
            self.found_log = self.log[:]
        if len(self.findings) < _FINDINGS:
            hours = self.world.now / HOUR
            self.findings.append("%.3f h, boot %d: %s" % (hours, self.world.boots, text))

    # The node's life

    def attach(self, node):
        """A boot got so far as to have a node."""
        self.node = node
        self._boot = self.world.boots
        if self.crossings:
            self.crossings.attach(node)
        self._last_ms = None
        if self._cut_at:
            self._away_ms += self.world.now - self._cut_at
            self._cut_at = 0
        self._next_settle = self.world.now + 10 * MINUTE
        self._dropped0 = node.outbox.dropped
        self._n = 0
        self._interval_ms = node.sampler.interval_ms

    def detach(self, cause):
        """The chip stopped."""
        now = self.world.now
        if self.node is None:
            return
        self.count()
        if self.crossings:
            self.crossings.detach(self.node, cause)
        if cause == "power":
            # What RTC memory held and flash did not. A flash that took nothing costs more.
            usual = since = now - self.spec.cut_costs_ms
            if now - self._full_until < 2 * MINUTE:
                since = min(since, self._full_since - self.spec.cut_costs_ms)
            self._away_ms += usual - since  # the last reading on flash is so much older
            for key in list(self._owed):
                at = self._owed[key] >> 32
                if at >= since:
                    self._at_risk[key] = (self._owed.pop(key), now - at)
            self._cut_at = now
        self.outages += self.node.link.outages
        self._drift()
        if cause == "hard" and self.node.restarting and self._restart is not None:
            self._restart.starts += 1
            self.restarts += 1
            if self._restart.starts > 1:
                self.found("%s restarted %d times" % (self._restart, self._restart.starts))
            self._restart = None
        self.node = None
        self._unread = {}
        for sent in self._open:
            sent.excused = sent.excused or sent.read > 0

    def count(self):
        """Take note of what the node itself says it gave up."""
        node = self.node
        self.dropped += node.outbox.dropped - self._dropped0
        self._dropped0 = node.outbox.dropped
        self.unsendable += node.sender.unsendable
        node.sender.unsendable = 0

    def turn(self):
        """Once a turn of the node's loop."""
        now = self._turned_at = self.world.now
        if now >= self._next_settle:
            self._next_settle = now + 10 * MINUTE
            self.settle_readings()
        self._check_grace()
        if self._interval_ms != self.node.sampler.interval_ms:
            self._interval_ms = self.node.sampler.interval_ms
            self._last_ms = now  # the new one counts from here
        if self._last_ms is not None:
            if now - self._last_ms > self._interval_ms + STALL_MS:
                if not self.node.sampler.failed:
                    self.found("no reading for %d ms" % (now - self._last_ms))
                self._last_ms = now
        if now >= self._hour:
            self._hour = now - now % HOUR + HOUR
            self._hourly()

    def flash_full(self, on):
        """The flash is full from now on, or no longer."""
        now = self.world.now
        if on:
            if now - self._full_until > 2 * MINUTE:
                self._full_since = now
            self._full_until = 1 << 60
        else:
            self._full_until = now

    def settle_readings(self):
        """Nothing waits on the node: what has not come by now never will."""
        node = self.node
        now = self.world.now
        if not node.link.up or len(node.outbox) or node.sender._held is not None:
            return
        if self.crossings and not len(node.notices):
            self.crossings.settle(node)
        for key in list(self._at_risk):
            age = self._at_risk.pop(key)[1]
            self.cost += 1
            self.longest_cost_ms = max(self.longest_cost_ms, age)
        missing = [key for key in self._owed if now - (self._owed[key] >> 32) > MINUTE]
        if not missing:
            return
        self.count()
        missing.sort()
        for key in missing:
            if self._given_up < self.dropped + self.unsendable:
                self._given_up += 1  # the oldest are the first to go
            else:
                self.lost += 1
                self.found("boot %d #%d is lost" % (key >> 32, key & 0xFFFFFFFF))
            del self._owed[key]

    def _hourly(self):
        node = self.node
        if node is None or not node.link.up or len(node.outbox) > 8:
            return
        if self._owed or self._at_risk:
            return
        # The model's own memory must not count: a dict that was large once stays so.
        self._owed, self._at_risk, self._unread = {}, {}, dict(self._unread)
        self.log = []
        gc.collect()
        if self._n < _MOST:
            self._hours[self._n] = (self.world.now - self.world.booted) // 1000
            self._bytes[self._n] = gc.mem_alloc()
            self._n += 1

    def _drift(self):
        """Take the line through this boot's points into account."""
        n, self._n = self._n, 0
        if n < _POINTS:
            return
        points = [(self._hours[i] / 3600, self._bytes[i]) for i in range(2, n)]  # caches are full
        n -= 2
        mean_x = sum([p[0] for p in points]) / n
        mean_y = sum([p[1] for p in points]) / n
        self._over += sum([(p[0] - mean_x) * (p[1] - mean_y) for p in points])
        self._under += sum([(p[0] - mean_x) ** 2 for p in points])
        self._spread += sum([(p[1] - mean_y) ** 2 for p in points])
        self._points += n - 2

    def slope(self):
        """Bytes an hour that the node's memory grows by, of all long boots together, or None."""
        return self._over / self._under if self._under else None

    def slope_error(self):
        """Its standard error."""
        left = self._spread - self._over * self._over / self._under
        return math.sqrt(max(left, 0) / self._points / self._under)

    # Readings

    def on_reading(self, ms, values):
        """The node took a reading, `node.seq` by now."""
        now = self.world.now
        self._last_ms = now
        boot = self.node.reports._boot["boot"]
        if boot not in self._boots:
            if len(self._boots) > 8:
                for name in list(self._boots):
                    index = self._boots[name]
                    if not any([key >> 32 == index for key in self._owed]) and not any(
                        [key >> 32 == index for key in self._at_risk]
                    ):
                        del self._boots[name]
                        self._away.pop(index, None)
            self._boots[boot] = self._boot
            self._away[self._boot] = self._away_ms
        self.taken += 1
        key = self._boot << 32 | self.node.seq
        if key in self._owed:
            self.found("two readings %s #%d" % (boot, self.node.seq))
        mark = self.spec.fingerprint([values.get(name) for name in self.spec.marks])
        self._owed[key] = now << 32 | mark
        if self.crossings:
            self.crossings.on_reading(self.node, ms, values)
        self.spec.board.next_values()

    def on_publish(self, topic, payload, retain, dup):
        try:
            told = json.loads(payload)
        except ValueError:
            return self.found("not JSON: %r" % payload[:80])
        if topic not in self.spec.topics:
            return self.found("published on %s" % topic)
        keys = []
        for obj in told if isinstance(told, list) else (told,):
            self._hear(topic, obj, obj.get("_fh", {}), keys)
        return lambda _: self._confirmed(keys)

    def _confirmed(self, keys):
        for key in keys:
            self._unread.pop(key, None)

    def _hear(self, topic, obj, ext, keys):
        spec = self.spec
        partial = ext.get("partial")
        if partial is not None:
            self.partial += 1
            values = [partial["values"].get(name) for name in spec.marks]
            keys.append(self._arrive(values, partial.get("time"), partial))
        elif "seq" in ext:
            keys.append(self._arrive(spec.read(obj), spec.time(obj), ext))
        alert = obj if topic == spec.alert_topic else ext.get("alert")
        if alert is not None and self.crossings:
            self.crossings.heard(alert, ext if topic == spec.alert_topic else alert)
        ack = ext.get("ack")
        name = obj.get("command_id") if topic == spec.reply_topic else ack and ack.get("id")
        if name:
            state = ack["state"] if ack else "done" if obj["success"] else "failed"
            self._answer(name, state)

    def _arrive(self, values, time, ext):
        index = self._boots.get(ext["boot"])
        if index is None:  # nothing of that boot is owed any more
            self.duplicates += 1
            return None
        key = index << 32 | ext["seq"]
        kept = self._owed.pop(key, None)
        if kept is None:
            kept = self._at_risk.pop(key, (None,))[0]
        if kept is None:
            self.duplicates += 1
            if key not in self._unread and index == self._boot:
                self.found("%s #%d again after its PUBACK" % (ext["boot"], ext["seq"]))
        else:
            self.arrived += 1
            self._check(values, time, ext, kept, index)
        self._unread[key] = True
        return key

    def _check(self, values, time, ext, kept, index):
        mark = self.spec.fingerprint(values)
        if mark != kept & 0xFFFFFFFF:
            self.found("%s #%d altered: %s" % (ext["boot"], ext["seq"], values))
        if time is not None and ext.get("q") in ("synced", "backfilled"):
            off = time - self.world.epoch(kept >> 32)
            # How long the power was away is not known: so much later may a reading seem.
            # Nor what of its last minutes was not on flash.
            away = self._away_ms - self._away[index]
            away = (away + self.spec.cut_costs_ms) // 1000 if away else 0
            error = self.clock_error()
            if not -CLOCK_S - error <= off <= CLOCK_S + error + away:
                self.found("%s #%d is %d s off" % (ext["boot"], ext["seq"], off))

    def time_told(self, error):
        """NTP answered, wrong by `error` seconds."""
        if error:
            self._clock_errors.append((self.world.now, abs(error)))

    def clock_error(self):
        """Seconds that what is heard now may be off for a wrong time server."""
        # Asked once a day, kept through resets; and readings wait for hours.
        recent = [told for told in self._clock_errors if self.world.now - told[0] < 40 * HOUR]
        self._clock_errors = recent
        return max([told[1] for told in recent] + [0])

    # Commands

    def on_command_sent(self, sent):
        self.commands += 1
        self._open.append(sent)
        self._settle()

    def on_command_read(self, what):
        sent, retained, dup = what
        sent.read += 1
        sent.retained_now = retained
        now = sent.read_at = self.world.now
        self._last_read = sent
        if sent.restarts:
            self._restart = sent
        # Too many at once are refused, and only counted: admission.BUSY_FROM.
        self._burst = self._burst + 1 if now - self._burst_at < 10000 else 1
        if self._burst > _BURST:
            sent.excused = True
        self._burst_at = now

    def on_command_acked(self, sent):
        sent.acked = True
        if sent.kind == "bad":
            sent.payload = sent.payload[:90]  # enough to tell of it

    def _answer(self, name, state):
        for sent in self._open:
            if sent.id == name:
                sent.answers += 1
                if state == "failed":
                    sent.failed = True
                return
        # Else settled long ago.

    def _settle(self, all=False):
        now = self.world.now
        keep = []
        for sent in self._open:
            old = now - max(sent.at, sent.read_at) > 2 * HOUR
            if not (old or all):
                keep.append(sent)
                continue
            if sent.starts:
                self.executed += 1
            if sent.failed:
                self.refused += 1
            if sent.read and sent.id and not sent.excused:
                if not sent.answers:
                    self.unanswered += 1
                    self.found("%s was never answered" % sent)
                elif sent.kind == "pump" and not sent.starts and not sent.failed:
                    self.found("%s was answered and not executed" % sent)
        self._open = keep

    # Pumps

    def on_start(self, pin):
        self.runs += 1
        now = self.world.now
        table = pin.table
        pin.limit_ms = table["max_run_s"] * 1000
        rest_ms = table.get("min_rest_s", 0) * 1000
        if pin.stopped is not None and now - pin.stopped < rest_ms - 1000:
            self.found("%s goes on %d ms after its last run" % (table["name"], now - pin.stopped))
        pin.commanded = self._by(table["name"]) == "command"
        if not pin.commanded:
            self.by_itself += 1
            pin.limit_ms = self.spec.runs_by_itself_ms
            if not pin.limit_ms:
                self.found("%s goes on by itself" % table["name"])
            return
        sent = self._last_read
        if sent is None or now - sent.read_at > 2000 or sent.kind not in ("pump", "bad"):
            self.found("%s goes on, and nobody asked" % table["name"])
            return
        sent.starts += 1
        if sent.kind == "bad":
            self.found("%s was executed" % sent)
        elif sent.retained_now:
            self.found("%s was executed, retained" % sent)
        elif sent.starts > 1 and sent.id:
            self.twice += 1
            self.found("%s was executed %d times" % (sent, sent.starts))
        if sent.lease_ms:
            pin.limit_ms = sent.lease_ms

    def _by(self, name):
        """Who, says the node, began the run."""
        for relay in self.node.actuators:
            if relay.name == name:
                return relay.by
        return None

    def on_stop(self, pin, ran_ms):
        now = self.world.now
        pin.stopped = now
        self.on_ms += ran_ms
        name = pin.table["name"]
        over = ran_ms - pin.limit_ms
        if over > 0:
            self.over_ms += over
            self.longest_over_ms = max(self.longest_over_ms, over)
            hangs = now - self._turned_at > 1000
            if over > (HUNG_LATE_MS if hangs else LATE_MS):
                self.found("%s ran %d ms, leased for %d" % (name, ran_ms, pin.limit_ms))
        self._charge(pin, now - ran_ms, ran_ms)

    def _charge(self, pin, since, ran_ms):
        """Put a run on the account of the day it began in."""
        budget_ms = pin.table.get("daily_run_s", 0) * 1000
        if not budget_ms:
            return
        day = since // DAY
        if min(since % DAY, DAY - since % DAY) < CLOCK_S * 1000:
            return  # by the node's clock, of whole seconds, it may be the other day
        if day != pin.day:
            pin.day, pin.day_ms, pin.day_wrong = day, 0, False
        pin.day_ms += ran_ms
        # Where the clock was wrong at a run of the day, two days' budgets may meet.
        pin.day_wrong = pin.day_wrong or self.clock_error() > 0
        limit = budget_ms * (2 if pin.day_wrong else 1)
        if pin.day_ms > limit + _BUDGET_LATE_MS:
            text = "%s ran %d ms in a day, its budget is %d"
            self.found(text % (pin.table["name"], pin.day_ms, budget_ms))
            pin.day_ms = 0

    def _check_grace(self):
        now = self.world.now
        if self.node.link.up:
            self._up_at = now
            return
        for pin in self.spec.board.outputs.values():
            if pin.since is None or not pin.commanded:
                continue
            lost = now - max(self._up_at, pin.since)
            if lost > (pin.table.get("link_grace_s", 60)) * 1000 + 2000:
                self.found("%s runs %d ms after the link was lost" % (pin.table["name"], lost))
                pin.commanded = False

    def on_will(self, will):
        pass

    # The end

    def finish(self):
        self._drift()
        self.count()
        self._settle(True)
        self.outages += self.node.link.outages
        self.settle_readings()
        slope = self.slope()
        if slope is not None and slope > MAX_SLOPE + 4 * self.slope_error():
            self.found("memory grows by %d bytes an hour" % slope)
