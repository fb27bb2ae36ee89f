"""Starts that ended in a crash or in the watchdog, counted in NVS, which a damaged flash spares."""

import gc
import io
import sys

from micropython import const

CRASH_LIMIT = const(3)  # in a row: safe mode
STABLE_BOOT_S = const(300)  # a start that held so long begins a new row
SAFE_RETRY_S = const(3600)  # safe mode ends with one start as usual
PAUSE_MS = 5000  # from a crash to the next start; doubled by each in the row
MAX_PAUSE_MS = const(600000)
TRACEBACK = const(400)  # characters of its end
_KEY = "crashes"


class Crashes:
    """`safe`: start in safe mode. `count`: in a row. `text`: the end of the last traceback.

    `fresh`: the last start ended so, and nobody knows yet.
    """

    def __init__(self, nvs, cause):
        """`cause` of the reset, see `Hal.reset_cause`."""
        self._nvs = nvs
        self._strikes = self.count = 0
        self.fresh = False
        self.text = ""
        try:
            strikes, count, fresh, self.text = (nvs.get_str(_KEY) or "").split(" ", 3)
            self._strikes, self.count, self.fresh = int(strikes), int(count), fresh == "1"
        except ValueError:
            pass  # none, or damaged
        if cause == "brownout":
            try:
                nvs.set_str("brownouts", str(int(nvs.get_str("brownouts") or 0) + 1))
            except (OSError, ValueError):
                pass  # NVS full, or damaged: it is for the doctor alone
        if cause == "watchdog":
            self._strike("the loop hung until the watchdog bit")
        self.safe = self._strikes >= CRASH_LIMIT
        if self.safe:
            # However safe mode ends - restart, time, power - the next start is one as usual,
            # and if that crashes too, the one after it is safe again.
            self._strikes = CRASH_LIMIT - 1
            self._save()

    def note(self, error):
        """Count a crash; milliseconds to wait before the next start. Never raises."""
        try:
            try:
                text = io.StringIO()
                sys.print_exception(error, text)
                text = text.getvalue()[-TRACEBACK:]
                # Four bytes a character at the worst; hal.py reads a kilobyte.
                text = text if len(text.encode()) < 900 else text[-TRACEBACK // 2 :]
            except MemoryError:
                text = type(error).__name__
            self._strike(text)
        except Exception as second:  # NVS full: the pause is what matters
            print("not noted: %r" % second)
        return min(PAUSE_MS << min(max(self.count - 1, 0), 8), MAX_PAUSE_MS)

    def told(self):
        """The crash is reported, or about to be: it is on its way to flash."""
        if self.fresh:
            self.fresh = False
            self._save()

    def stable(self):
        """This start held."""
        if self.count:
            self._strikes = self.count = 0
            self.fresh = False
            self.text = ""
            self._save()

    def _strike(self, text):
        self._strikes += 1
        self.count += 1
        self.fresh = True
        self.text = text
        self._save()

    def _save(self):
        gc.collect()
        state = "%d %d %d " % (self._strikes, self.count, self.fresh)
        self._nvs.set_str(_KEY, state + self.text)
