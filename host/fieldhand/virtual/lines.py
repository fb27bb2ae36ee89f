"""DTR and RTS of a DevKit: two transistors make EN and IO0 of them.

From the schematic of the ESP32-DevKitC (Espressif, "ESP32-DevKitC V4", auto program): asserted
alone, RTS pulls EN low and DTR pulls IO0 low; asserted together, neither does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# The capacitor at EN holds the chip in reset for about 10 ms after RTS lets go, so that IO0 is low
# when the chip wakes up. Through a network port each change of a line takes 50 ms and more, for
# which esptool's own server for such ports does the reset by itself; we have a larger capacitor.
EN_RISE_S = 0.5


def levels(dtr: bool, rts: bool) -> tuple[bool, bool]:
    """(EN, IO0), True: high, of DTR and RTS, True: asserted, which on the wire is low."""
    return not (rts and not dtr), not (dtr and not rts)


class ResetLines:
    """Follows the two lines and says when the chip is held, and how it starts.

    Everything happens in `loop`. `hold()` is called when EN goes low, `release(download)` when it
    has risen; `download`: IO0, the boot button, was low then.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hold: Callable[[], None],
        release: Callable[[bool], None],
    ) -> None:
        self.boot_pressed = False
        self.dtr = False
        self.rts = False
        self._loop = loop
        self._hold = hold
        self._release = release
        self._held = False
        self._rising: asyncio.TimerHandle | None = None

    @property
    def io0(self) -> bool:
        """Level of IO0, with the boot button."""
        return levels(self.dtr, self.rts)[1] and not self.boot_pressed

    def set(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """One line changes, or both at once."""
        self.dtr = self.dtr if dtr is None else dtr
        self.rts = self.rts if rts is None else rts
        self._stop_rising()
        enabled = levels(self.dtr, self.rts)[0]
        if not enabled:
            if not self._held:
                self._held = True
                self._hold()
        elif self._held:
            if self.dtr and self.rts:  # on its way from one line to the other
                self._rising = self._loop.call_later(EN_RISE_S, self._rise)
            else:
                self._rise()

    def close(self) -> None:
        self._stop_rising()

    def _rise(self) -> None:
        self._stop_rising()
        self._held = False
        self._release(not self.io0)

    def _stop_rising(self) -> None:
        if self._rising is not None:
            self._rising.cancel()
            self._rising = None
