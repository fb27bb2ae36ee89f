"""Wi-Fi and broker credentials on trial, see slots.py: kept, or taken back by the node itself."""

import json

from . import log
from .trial import CONFIRM_MS, REVERT_MS

KEPT = "net"
TRIAL = "net_trial"
NONE = "{}"


def taken_back(why, slot):
    """The alert that says so; `slot` names what was tried."""
    names = [slot.get("wifi", {}).get("ssid"), slot["broker"].get("host")]
    names = ", ".join([name for name in names if name])
    text = "credentials taken back: %s with those of %s" % (why, names)
    log.warning(text)
    return {"severity": "warning", "message": text[:200]}


class Trial:
    """A part of the node, see there, and the last of them, for it takes itself away when won.

    Without a connection that holds it takes the new credentials back by a restart, for which a
    running pump is waited for.
    """

    def __init__(self, node, clock, nvs, won):
        """`won`: see slots.use."""
        self._node = node
        self._clock = clock
        self._nvs = nvs
        self._won = won
        self._began_ms = clock.ms()

    def step(self):
        node, link = self._node, self._node.link
        if node.restarting:
            return  # perhaps to try others
        if link.up:
            if link.up_ms >= CONFIRM_MS:
                self._keep()
        elif self._clock.ms() - self._began_ms >= REVERT_MS:
            if not node.running:
                self._give_up(link.failure)

    def _keep(self):
        self._node.parts.remove(self)
        try:
            self._nvs.set_str(KEPT, self._won)  # first: there is no moment without
            self._nvs.set_str(TRIAL, NONE)
        except OSError as error:  # then the next start has the same to prove
            log.warning("NVS: %s" % error)
            return
        log.info("the new credentials have proved themselves")
        self._node.notices.append("event", {"event": "credentials", "what": "kept"})

    def _give_up(self, why):
        try:
            self._nvs.set_str(TRIAL, NONE)
        except OSError as error:  # then the count of the starts ends it
            log.warning("NVS: %s" % error)
        why = why or "no connection held for %d s" % (CONFIRM_MS // 1000)
        self._node.notices.append("alert", taken_back(why, json.loads(self._won)))
        self._node.restart_after_replies()

    def on_reading(self, ms, values):
        pass

    def report(self, status):
        status["credentials"] = "on trial"
