"""What stands behind the relays: the record of each run on flash, its budget, its end.

The record of a run is written before it begins and after it ended: a power cut in between is found
at the next boot and yields no free run. Two small writes a run.
"""

from micropython import const

from . import log, store
from .relay import Refused

FILE = "runs.json"
_RETRY_MS = const(60000)  # a record that could not be written
# Reset cause -> the end of a run that was under way. `machine.reset()` is what a crash ends in: an
# ordered restart puts everything off beforehand.
_CUT = {"hard": "crash", "soft": "restart", "unknown": "power", "brownout": "power"}


class Runs:
    """A part of `node`; all its relays ask it before a run and tell it after."""

    def __init__(self, node, config, clock, cause):
        self._node = node
        self._clock = clock
        self._up_ms = 0  # when the link was up last
        self._save_ms = None  # when to try again
        self._before = None  # the record as it was before the last charge
        before = len(store.damaged)
        self._records = store.load(FILE)
        self._grace_ms = {}
        self._guard = None
        self._leaking = ()
        damaged = len(store.damaged) > before or "file system" in store.damaged
        damaged = not self._sound() or damaged
        used_up = False
        kept, self._records = self._records, {}
        for table, relay in zip(config["actuators"], node.actuators):
            relay.runs = self
            record = self._records[relay.name] = kept.get(relay.name, {})
            self._grace_ms[relay.name] = table["link_grace_s"] * 1000
            if table.get("daily_run_s") or table.get("daily_ml") or table["min_rest_s"]:
                from .budget import Budget

                relay.budget = Budget(table, record, clock, config["utc_offset_min"] * 60)
                if damaged:
                    relay.budget.use_up()
                    used_up = True
            if "flow_meter" in table or "tank_min" in table:
                from .guard import Guard

                self._guard = self._guard or Guard(node, clock)
                self._guard.add(relay, table, config)
        if used_up:
            text = "%s was damaged: the budgets of today count as used up" % FILE
            log.warning(text)
            node.notices.append("alert", {"severity": "warning", "message": text})
            self._save()
        self._report_cut(_CUT.get(cause, cause))

    def _sound(self):
        """Whether the records hold what can be counted with."""
        try:
            for record in self._records.values():
                for key in ("day", "ms", "ml", "at"):
                    record.get(key, 0) + 0
        except (AttributeError, TypeError):
            self._records = {}
            return False
        return True

    def _report_cut(self, reason):
        cut = False
        for relay in self._node.actuators:
            run = self._records[relay.name].pop("run", None)
            if isinstance(run, dict):
                cut = True
                run.update({"event": "run", "actuator": relay.name, "reason": reason})
                self._node.notices.append("event", run)
        if cut:
            self._node.notices.flush()  # before the record that it is made from is gone
            self._save()

    # What a Relay calls.

    def check(self, relay, by):
        """Raises Refused where the relay must rest or has nothing to pump."""
        if by != "command" and self._records[relay.name].get("dry"):
            raise Refused("%s ran dry: locked until a commanded run succeeds" % relay.name)
        if relay.budget:
            relay.budget.check(relay)
        if self._guard:
            self._guard.check(relay)

    def begin(self, relay, lease_ms, amount_ml, command):
        """Charge and record a run that is about to begin; returns its lease. Raises Refused."""
        record = self._records[relay.name]
        self._before = dict(record)
        limit_ml = amount_ml if relay.flow else None
        if limit_ml is not None and lease_ms >= relay.amount_ms(amount_ml):
            relay.at_end = "timeout"
        if relay.budget:
            try:
                lease_ms, limit_ml = relay.budget.take(relay, lease_ms, limit_ml)
            except Refused:
                if record != self._before:  # of which day the account is
                    self._save()
                raise
        run = {"by": relay.by, "lease_ms": lease_ms}
        if command and command.get("id") is not None:
            run["id"] = command["id"]
        record["run"] = run
        if not self._save() and relay.budget:
            self._restore(record)
            raise Refused("the budget of %s cannot be written" % relay.name)
        if relay.flow:
            relay.flow.begin(limit_ml, "done" if limit_ml == amount_ml else "budget")
        return lease_ms

    def forget(self, relay):
        """The run that was begun did not begin."""
        self._restore(self._records[relay.name])
        self._save()

    def _restore(self, record):
        record.clear()
        record.update(self._before)

    def end(self, relay):
        """A run has ended: settle the account, tell the world."""
        record = self._records[relay.name]
        run = record.pop("run", {})
        if relay.budget:
            relay.budget.give_back(relay)
        if relay.by == "command" and relay.ended in ("done", "budget"):
            if relay.flow is None or relay.ran_ml:
                record.pop("dry", None)
        self._save()
        event = {"event": "run", "actuator": relay.name, "by": relay.by, "reason": relay.ended}
        event["ran_ms"] = relay.ran_ms
        if relay.ran_ml is not None:
            event["amount_ml"] = int(round(relay.ran_ml))
        if "id" in run:
            event["id"] = run["id"]
        self._node.commands.run_ended(relay)
        self._node.notices.append("event", event)
        self._node.sender.status_due()

    def _save(self):
        """Whether it could be written; if not, it is tried again."""
        self._save_ms = None
        try:
            store.save(FILE, self._records)
        except OSError as error:
            log.warning("%s cannot be written: %s" % (FILE, error))
            self._save_ms = self._clock.ms() + _RETRY_MS
            return False
        return True

    # What the Node calls.

    def step(self):
        now = self._clock.ms()
        if self._node.link.up:
            self._up_ms = now
        for relay in self._node.actuators:
            if relay.running:
                self._watch(relay, now)
        if self._guard:
            self._leaking = self._guard.leaks()
        if self._save_ms is not None and now >= self._save_ms:
            self._save()

    def _watch(self, relay, now):
        reason = None
        # A session that the broker kept brings commands before the link is up.
        lost = min(now - self._up_ms, relay.running_ms())
        if relay.by == "command" and lost > self._grace_ms[relay.name]:
            reason = "link lost"
        elif self._guard:
            reason = self._guard.watch(relay)
        if reason == "dry run":
            self._records[relay.name]["dry"] = 1
        if reason:
            relay.off(reason)

    def on_reading(self, ms, values):
        if self._guard:
            self._guard.on_reading(ms, values)

    def report(self, status):
        """Put which relays are locked or leak into the `status` values."""
        faults = ["%s ran dry" % name for name in self._records if self._records[name].get("dry")]
        faults += ["%s leaks" % name for name in self._leaking]
        if faults:
            status["actuator_error"] = "; ".join(faults)[:200]
