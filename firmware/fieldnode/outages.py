"""What became of the connection: each outage is reported once it is over.

One that the node does not live through, because it restarts or loses power, is reported by the
next start. For that it goes to flash, once, and only if it lasts: flapping costs no flash.
"""

from micropython import const

from . import store

PATH = "outage.json"
KEPT_AFTER_MS = const(15000)
_MAX_CAUSE = const(160)  # characters
_MAX_S = const(1000000)  # more than 11 days until the next start: so long, at least


class Outages:
    """A part of the node, see there."""

    def __init__(self, node, clock):
        """`node.link` is set, and untouched."""
        self._node = node
        self._clock = clock
        self._told = 0  # outages of this boot that are reported
        self._kept = kept = store.load(PATH)
        self._since = None  # Unix time when that of before the start began
        if kept:  # it goes on
            link = node.link
            link.outages = 1
            link.cause = str(kept.get("cause"))
            seconds = kept.get("seconds")
            if isinstance(seconds, int):
                link.down_ms = min(max(seconds, 0), _MAX_S) * 1000
            self._since = kept.get("since")

    def step(self):
        link = self._node.link
        if link.up:
            if link.outages != self._told:
                self._report(link)
            elif self._kept and not len(self._node.notices):  # the broker has it
                self._kept = None
                store.tried(store.remove, PATH)
        elif link.outages != self._told and not self._kept and link.down_ms >= KEPT_AFTER_MS:
            seconds = link.down_ms // 1000
            now = self._clock.epoch()
            self._kept = {
                "cause": link.cause[:_MAX_CAUSE],
                "seconds": seconds,
                "since": None if now is None else now - seconds,
            }
            store.tried(store.save, PATH, self._kept)

    def _report(self, link):
        self._told = link.outages
        now = self._clock.epoch()
        if now is not None and isinstance(self._since, int):
            # The time without power counts. Where it is not known: so long, at least.
            link.down_ms = max(link.down_ms, (now - self._since) * 1000)
        self._since = None
        event = {"event": "outage", "count": link.outages}
        event["cause"] = link.cause[:_MAX_CAUSE]
        event["seconds"] = link.down_ms // 1000
        self._node.notices.append("event", event)

    def on_reading(self, ms, values):
        pass

    def report(self, values):
        """Into the status: the last outage, if there was one."""
        self.step()
        link = self._node.link
        if link.outages:
            values["outage_cause"] = link.cause[:_MAX_CAUSE]
            values["outage_s"] = link.down_ms // 1000
