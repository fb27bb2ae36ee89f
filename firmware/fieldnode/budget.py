"""What an actuator may run in a day, and its rest between runs; both survive a reboot.

The account is in the relay's record on flash: `ms` and `ml` used on `day` (days since 1970 in local
time, absent while no time is known), `at` when the last run ended (Unix seconds, 0: unknown).
"""

from micropython import const

from .relay import Refused

_DAY_S = const(86400)
_METERED = const(2)  # a run may yield this many times what the calibration says


class Budget:
    """Of one relay: `table` is its entry of node.json, `record` its record on flash."""

    def __init__(self, table, record, clock, offset_s):
        self._run_ms = table.get("daily_run_s", 0) * 1000
        self._ml = table.get("daily_ml")
        self._rest_s = table["min_rest_s"]
        self._record = record
        self._clock = clock
        self._offset_s = offset_s
        self._day_ms = 0  # when the day began, while the time is unknown
        self._ended_ms = None  # the last run, None: before this boot
        self._charged_ms = self._charged_ml = 0

    def use_up(self):
        """What was used is not known: nothing is left."""
        self._record.update({"ms": self._run_ms, "ml": self._ml or 0, "at": 0})

    def check(self, relay):
        """Raises Refused during the rest."""
        record = self._record
        if not self._rest_s or "at" not in record and not relay.running:
            return
        rested = 0
        if not relay.running:
            # A run before this boot ended at the boot at the latest.
            rested = (self._clock.ms() - (self._ended_ms or 0)) // 1000
            epoch = self._clock.epoch()
            if self._ended_ms is None and epoch and record["at"]:
                rested = max(rested, epoch - record["at"])
        if rested < self._rest_s:
            raise Refused(
                "%s rests for %d s after a run, %d s are left"
                % (relay.name, self._rest_s, self._rest_s - rested)
            )

    def take(self, relay, lease_ms, limit_ml):
        """Charge a whole run beforehand. (lease ms, limit ml or None) it may have; sets `at_end`.

        Raises Refused when nothing is left.
        """
        self._new_day()
        record = self._record
        used_ml = record.get("ml", 0)
        ml = 0
        if self._run_ms:
            left = self._run_ms - record.get("ms", 0)
            if left <= 0:
                raise Refused("%s has run its %d s of today" % (relay.name, self._run_ms // 1000))
            if left < lease_ms:
                lease_ms = left
                relay.at_end = "budget"
        if self._ml:
            left = self._ml - used_ml
            rate = relay.flow_ml_per_s
            by_ml = int(left * 1000 / rate) if rate else 1
            if left <= 0 or by_ml < 1:
                raise Refused("%s has given its %d ml of today" % (relay.name, self._ml))
            if relay.flow is None:
                if by_ml < lease_ms:
                    lease_ms = by_ml
                    relay.at_end = "budget"
                ml = lease_ms * rate / 1000
            else:
                if limit_ml is None or left < limit_ml:
                    limit_ml = left
                ml = limit_ml
                if rate:
                    ml = min(ml, lease_ms * rate * _METERED / 1000)
        self._charged_ms = lease_ms
        self._charged_ml = ml
        record["ms"] = record.get("ms", 0) + lease_ms
        record["ml"] = used_ml + ml
        epoch = self._clock.epoch()
        record["at"] = epoch + lease_ms // 1000 if epoch else 0
        return lease_ms, limit_ml

    def give_back(self, relay):
        """The run is over: what it did not use is there again."""
        record = self._record
        record["ms"] = max(record["ms"] + relay.ran_ms - self._charged_ms, 0)
        if self._ml:
            record["ml"] = max(record["ml"] + (relay.ran_ml or 0) - self._charged_ml, 0)
        record["at"] = self._clock.epoch() or 0
        self._ended_ms = self._clock.ms()

    def _new_day(self):
        # While nobody knows the time a day is 24 h of uptime, counted from the boot: a node that
        # reboots over and over has the one budget. Once the time is known the account is today's.
        record = self._record
        day = record.get("day")
        if self._clock.known():
            today = (self._clock.epoch() + self._offset_s) // _DAY_S
            new = day is not None and day < today
            record["day"] = today
        else:
            now = self._clock.ms()
            new = now - self._day_ms >= _DAY_S * 1000
            if new:
                self._day_ms = now
                record.pop("day", None)
        if new:
            record["ms"] = record["ml"] = 0
