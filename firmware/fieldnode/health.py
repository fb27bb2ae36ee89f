"""How the node itself is doing: for its status, and for the start after the next crash."""

from micropython import const

from . import log, store
from .crashes import SAFE_RETRY_S, STABLE_BOOT_S

PROVEN_MS = const(10000)  # a connection that held so long is worth a backup


class Health:
    """A part of the node, see there.

    `unsaved` is a key and a text for NVS, written once the connection has proven itself, or None.
    """

    def __init__(self, node, hal, clock, nvs, crashes, unsaved=None):
        self._node = node
        self._hal = hal
        self._clock = clock
        self._crashes = crashes
        self._nvs = nvs
        self._unsaved = unsaved
        self._due_ms = (SAFE_RETRY_S if crashes.safe else STABLE_BOOT_S) * 1000

    def step(self):
        if self._due_ms is not None and self._clock.ms() >= self._due_ms:
            self._due_ms = None
            if self._crashes.safe:
                self._node.restart_after_replies()
            else:
                self._try(self._crashes.stable)
        link = self._node.link
        if self._unsaved and link.up and link.up_ms >= PROVEN_MS:
            self._try(self._nvs.set_str, *self._unsaved)
            self._unsaved = None

    def _try(self, call, *args):
        try:
            call(*args)
        except OSError as error:
            log.warning("NVS: %s" % error)

    def on_reading(self, ms, values):
        pass

    def report(self, status):
        node = self._node
        status["loop_ms"] = node.loop_ms
        status["flash_bytes"] = store.written[0]
        status["largest_block"] = self._hal.largest_block()
        if self._crashes.count:
            status["crashes"] = self._crashes.count
        if self._crashes.safe:
            status["safe_mode"] = True
            if node.dialect.allows("status", "state", "error"):
                status["state"] = "error"
