"""This boot and those before it: their names, and when their readings were taken.

An ESP32's RTC counts on through every reset but not through a power cut. The time that one boot
learns thus dates all boots since the power came. A boot that the power ended is taken to have
ended when the next one began: its readings are later in truth by as long as the power was away.
"""

from micropython import const

from . import log, store
from .clock import BACKFILLED, UNKNOWN

_FILE = "boots.json"
_LIMIT = const(8)  # boots whose readings can be dated
# boot; the boot that first used RTC memory since the power came; RTC seconds and Unix seconds at
# ms 0; boot and ms of the newest reading then waiting, or None.
_BOOT, _RUN, _RTC_S, _ZERO_S, _LAST = range(5)


class Boots:
    """`boot`: (number, random 16 bits) of this one."""

    def __init__(self, hal, clock):
        from .identity import NAMESPACE, next_boot  # forgotten after the start

        self._clock = clock
        rows = store.load(_FILE).get("boots")
        self._rows = rows if isinstance(rows, list) else []
        try:
            least = max([row[_BOOT][0] for row in self._rows] + [0])
            for row in self._rows:
                row[_BOOT], row[_RUN] = tuple(row[_BOOT]), tuple(row[_RUN])
        except (TypeError, ValueError, IndexError):
            log.warning("%s is not used" % _FILE)
            self._rows = []
            least = 0
        self.boot = next_boot(hal.nvs(NAMESPACE), least)
        self._rtc_s = hal.rtc_seconds() - clock.ms() // 1000

    def begin(self, batch, newest):
        """`batch`, `newest`: of the Outbox. The time is known if an earlier boot since the power
        came knew it."""
        last = [newest[0], newest[2]] if newest else None
        for row in self._rows:
            ran_s = last[1] // 1000 if last and last[0] == row[_BOOT] else 0
            if row[_RUN] == batch.run and self._rtc_s < row[_RTC_S] + ran_s:
                # A brown-out: RTC memory outlived it, the RTC did not.
                batch.begin(self.boot)
        row = [self.boot, batch.run, self._rtc_s, None, last]
        self._rows = self._rows[1 - _LIMIT :] + [row]
        zero_s = self._zero_s(len(self._rows) - 1)
        if zero_s is not None:
            self._clock.restore(zero_s)
        self._save()

    def step(self):
        """Keep the time at which this boot began, once it is known."""
        row = self._rows[-1]
        if row[_ZERO_S] is None and self._clock.synced():
            row[_ZERO_S] = self._clock.epoch(0)
            self._save()

    def _save(self):
        store.tried(store.save, _FILE, {"boots": self._rows})

    def dated(self, boot, ms):
        """(Unix seconds or None, quality) of the instant `ms` of `boot`."""
        if boot == self.boot:
            return self._clock.epoch(ms), self._clock.quality(ms)
        for i in range(len(self._rows)):
            if self._rows[i][_BOOT] == boot:
                zero_s = self._zero_s(i)
                if zero_s is not None:
                    return zero_s + ms // 1000, BACKFILLED
        return None, UNKNOWN

    def _known_s(self, i):
        if i == len(self._rows) - 1 and self._clock.known():
            return self._clock.epoch(0)
        return self._rows[i][_ZERO_S]

    def _zero_s(self, i):
        """Unix seconds at which boot `i` of the table began, or None."""
        rows = self._rows
        row = rows[i]
        for k in [i] + list(range(len(rows))):
            if rows[k][_RUN] == row[_RUN] and self._known_s(k) is not None:
                return self._known_s(k) - rows[k][_RTC_S] + row[_RTC_S]
        for k in range(i + 1, len(rows)):
            other = rows[k]
            ago = None
            if other[_RUN] == row[_RUN]:
                ago = other[_RTC_S] - row[_RTC_S]
            elif other[_LAST] and tuple(other[_LAST][0]) == row[_BOOT]:
                ago = other[_LAST][1] // 1000
            if ago is not None:
                zero_s = self._zero_s(k)
                return None if zero_s is None else zero_s - ago
        return None


def boot_id(boot):
    """As in provenance: "12-9f3c"."""
    return "%d-%04x" % boot
