"""What the node says: its status, readings, answers and alerts, as packets of its dialect."""

import gc

from micropython import const

from fieldproto.errors import MessageError

from . import log
from .boots import boot_id
from .clock import SYNCED
from .version import VERSION

# A dialect that requires a time gets this plus the seconds since boot while none is known; the
# host sees by the quality "unknown" that it is none.
_UNSET_EPOCH = const(946684800)  # 2000-01-01


class Reports:
    """Packets about `node`, None where the dialect has no word for it."""

    def __init__(self, node, clock, reset_cause, fault):
        self._node = node
        self._clock = clock
        self._reset_cause = reset_cause
        self._fault = fault
        self._needs_time = node.dialect.requires("time")
        self._boot = {"boot": boot_id(node.boots.boot)}

    def status(self):
        """Canonical values of the status, health included."""
        node = self._node
        now = self._clock.ms()
        values = {
            "state": "online",
            "activity": "running" if node.running else "idle",
            "time": self.time(now),
            "uptime": now // 1000,
            "firmware": VERSION,
            "reset_cause": self._reset_cause,
            "free_memory": gc.mem_free(),
            "interval_ms": node.sampler.interval_ms,
            "seq": node.seq,
            "queued": len(node.outbox),
            "dropped": node.outbox.dropped,
            "outages": node.link.outages,
        }
        for name in ("battery_level", "signal_strength"):
            if name in node.latest:
                values[name] = int(round(node.latest[name]))
        for name, count in (
            ("refused", node.commands.refused),
            ("unsendable", node.sender.unsendable),
            ("notices_dropped", node.notices.dropped),
            ("corrupt", node.outbox.corrupt),
            ("outbox_error", node.outbox.fault),
        ):
            if count:
                values[name] = count
        failed = node.sampler.failed
        if failed:
            values["sensor_error"] = "; ".join(["%s: %s" % (n, failed[n]) for n in failed])[:200]
        if node.led is not None:
            values["led"] = node.led.state
            values["brightness"] = node.led.brightness
        for relay in node.actuators:
            values.update(relay.totals())
        for part in node.parts:
            part.report(values)
        if self._fault:
            values["config_error"] = self._fault[:200]
        if (self._fault or failed) and node.dialect.allows("status", "state", "error"):
            values["state"] = "error"
        return values

    def status_packet(self):
        values = self.status()
        self._node.loop_ms = 0
        return self._encode("status", values, self._boot)

    def will(self):
        """The Last Will, for the connection that is about to be made."""
        values = {"firmware": VERSION, "time": self.time(self._clock.ms())}
        return self._node.dialect.will(self._node.id, values)

    def batch(self):
        """How many readings a packet of this dialect may hold."""
        message = self._node.dialect.message("reading")
        return max(1, message.batch) if message else 1

    def readings(self, taken):
        """The packet of what `Outbox.take` gave; more than one where the dialect allows."""
        entries = [self._dated(*reading[:5]) for reading in taken]
        if len(entries) == 1:
            return self._reading(*entries[0])
        try:
            return self._node.dialect.encode_batch(self._node.id, entries)
        except MessageError as error:
            log.warning("not sent as one: %s" % error)
            return None

    def _dated(self, boot, seq, ms, epoch, values):
        quality = SYNCED
        if not epoch:
            epoch, quality = self._node.boots.dated(boot, ms)
        values["time"] = self._required(epoch, ms)
        values["uptime"] = ms // 1000
        values["firmware"] = VERSION
        return values, {"boot": boot_id(boot), "seq": seq, "ms": ms, "q": quality}

    def _reading(self, values, ext):
        dialect = self._node.dialect
        try:
            return dialect.encode("reading", self._node.id, values, ext)
        except MessageError as error:
            fault = error
        # As when a sensor has failed that this dialect cannot do without: the others count.
        try:
            packet = dialect.encode_partial(self._node.id, values, self._carrier(), ext)
        except MessageError:
            packet = None
        if packet is None:
            log.warning("not sent: %s" % fault)
        return packet

    def _carrier(self):
        status = self.status()
        if self._node.dialect.message("status") is None:
            status.update(self._node.actuator_states())
        return status

    def notice(self, entry):
        """An answer, an alert or an event: an entry of `Notices`."""
        kind, values, _, ms, n, origin = entry
        dialect = self._node.dialect
        boot, epoch, quality = origin or self.origin(ms)
        if epoch is None and origin:
            number, random = boot.split("-")
            epoch, quality = self._node.boots.dated((int(number), int(random, 16)), ms)
        values["time"] = self._required(epoch, ms)
        ext = self._boot
        status = self._carrier()
        if kind == "reply" and values["id"] is None and dialect.requires("id"):
            values["id"] = "unknown"  # DESE: an answer needs one, the command had none
        encode = dialect.encode_reply
        if kind != "reply":
            encode = dialect.encode_alert if kind == "alert" else dialect.encode_event
            ext = {"boot": boot, "n": n, "ms": ms, "q": quality}
        try:
            return encode(self._node.id, values, status, ext)
        except (MessageError, MemoryError) as error:  # a reply may need tables that were forgotten
            log.warning("not sent: %s" % error)
            return None

    def origin(self, ms):
        """[boot, Unix seconds or None, quality] of the instant `ms` of this boot."""
        clock = self._clock
        return [self._boot["boot"], clock.epoch(ms), clock.quality(ms)]

    def time(self, ms):
        """Unix seconds of the instant `ms`, as far as known or required."""
        return self._required(self._clock.epoch(ms), ms)

    def _required(self, epoch, ms):
        if epoch is None and self._needs_time:
            return _UNSET_EPOCH + ms // 1000
        return epoch

    def _encode(self, kind, values, ext):
        dialect = self._node.dialect
        if dialect.message(kind) is None:
            return None
        try:
            return dialect.encode(kind, self._node.id, values, ext)
        except MessageError as error:
            log.warning("not sent: %s" % error)
            return None
