"""A node's Wi-Fi station and the wire to the broker, which faults make deaf.

Everything here runs in the simulator's event loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from .protocol import ChipError

WIFI_FAULTS = ("ok", "lost", "zombie", "wrong_password", "no_ap")
BROKER_FAULTS = ("ok", "blackhole", "reset", "hangup", "refuse", "garbage", "fragments")
GARBAGE = bytes((n * 167 + 11) & 255 for n in range(256)) * 800  # 200 kB
REFUSAL = b"\x20\x02\x00\x05"  # CONNACK: not authorised
_DRIP_S = 0.001

# Connections whose node was cut off, kept until the broker gives them up.
MAX_GHOSTS = 16
_HIGH_WATER = 65536

_IDLE, _CONNECTING, _GOT_IP = 1000, 1001, 1010
_BEACON_TIMEOUT, _NO_AP_FOUND, _AUTH_FAIL, _ASSOC_LEAVE = 200, 201, 202, 8
_NOT_STARTED = ChipError(0, "Wifi Not Started")
_NOT_CONNECTED = ChipError(0, "Wifi Not Connected")
_BUSY = ChipError(0, "Wifi Internal Error")


class Station:
    """`network.WLAN(STA_IF)`: what it is told, and what it becomes.

    As ports/esp32/network_wlan.c it reconnects by itself once `connect` was called, for ever.
    `ssid` and `password` are those of the access point in range; None takes any.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connect_s: float, changed: Callable[[], None]
    ) -> None:
        self.ssid: str | None = None
        self.password: str | None = None
        self.fault = "ok"
        self.connect_s = connect_s
        self._loop = loop
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self._target = (b"", b"")
        self.power_off()

    def power_off(self) -> None:
        """Radio off, everything forgotten: reset or power cut."""
        self._stop_timer()
        self._requested = False
        self.connected = False
        self._reason = 0
        self._active = False

    @property
    def passing(self) -> bool:
        """Whether packets get through."""
        return self.connected and self.fault == "ok"

    def set_fault(self, fault: str) -> None:
        self.fault = fault
        if fault in ("ok", "zombie"):
            self._changed()
            if fault == "ok" and self._requested and not self.connected:
                self._retry()
            return
        if self.connected:  # beacons stay out
            self.connected = False
            self._reason = _BEACON_TIMEOUT
            self._retry()
        self._changed()

    def active(self, on: int) -> int:
        if on >= 0 and bool(on) != self._active:
            self.power_off()
            self._active = bool(on)
            self._changed()
        return self._active

    def connect(self, credentials: bytes) -> None:
        if not self._active:
            raise _NOT_STARTED
        if self._requested:
            # Connected or trying, by itself as well: only disconnect() ends that.
            raise _BUSY
        if credentials:
            ssid, _, key = credentials.partition(b"\0")
            self._target = (ssid, key)
        self._requested = True
        self._retry()

    def disconnect(self) -> None:
        if not self._active:
            raise _NOT_STARTED
        was = self.connected or self._requested
        self._stop_timer()
        self._requested = False
        self.connected = False
        if was:
            self._reason = _ASSOC_LEAVE
        self._changed()

    def status(self) -> int:
        if self.connected:
            return _GOT_IP
        if self._reason in (_NO_AP_FOUND, _AUTH_FAIL):
            return self._reason
        if self._reason == _ASSOC_LEAVE:
            return _IDLE
        if self._requested:
            return _CONNECTING
        return self._reason or _IDLE

    def rssi(self, dbm: float) -> int:
        if not self.connected:
            raise _NOT_CONNECTED
        return round(dbm)

    def target_ssid(self) -> bytes:
        return self._target[0]

    def scan(self, dbm: float) -> bytes:
        if not self._active:
            raise ChipError(0, "STA must be active")
        if self.fault in ("lost", "no_ap"):
            return b""
        name = self._target[0] if self.ssid is None else self.ssid.encode()
        return name + b"\0" + str(round(dbm)).encode()

    def ifconfig(self) -> bytes:
        if not self.connected:
            return b"0.0.0.0 0.0.0.0 0.0.0.0 0.0.0.0"
        return b"127.0.0.1 255.0.0.0 127.0.0.1 127.0.0.1"

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _retry(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(self.connect_s, self._outcome)

    def _outcome(self) -> None:
        self._timer = None
        ssid, key = self._target
        wrong_name = self.ssid is not None and self.ssid.encode() != ssid
        if self.fault in ("lost", "no_ap") or wrong_name:
            self._reason = _NO_AP_FOUND
        elif self.fault == "wrong_password" or (
            self.password is not None and key != self.password.encode()
        ):
            self._reason = _AUTH_FAIL
        else:
            self._reason = 0
            self.connected = True
            self._changed()
            return
        self._retry()


class _End(asyncio.Protocol):
    """One side of a connection between node and broker."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.peer: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.early = bytearray()  # from the node, before the broker's side is open
        self.held: bytes | None = None  # came in while the wire went deaf
        self.dripping = bytearray()  # still to be written, byte by byte
        self.ghost = False

    @property
    def open(self) -> bool:
        return self.transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.ghost:
            return
        if self.wire.deaf:
            self.held = (self.held or b"") + data
        elif self.peer is None or self.peer.transport is None:
            self.early += data
        else:
            self.peer.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is None:
            return
        if not self.dripping and self.wire.fault != "fragments":
            self.transport.write(data)
            return
        self.dripping += data
        if len(self.dripping) == len(data):
            self._drip()

    def _drip(self) -> None:
        if self.transport is None or self.transport.is_closing():
            self.dripping.clear()
            return
        self.transport.write(self.dripping[:1])
        del self.dripping[:1]
        if self.dripping:
            asyncio.get_running_loop().call_later(_DRIP_S, self._drip)

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport and not self.wire.deaf:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.wire.forget(self)
        if self.peer and self.peer.transport and not self.peer.ghost:
            if exc is None:
                self.peer.transport.close()
            else:
                abort(self.peer.transport)

    def listen(self, deaf: bool) -> None:
        """Read on, or leave what comes in the kernel's buffers."""
        if self.transport is None or self.transport.is_closing():
            return
        if deaf:
            self.transport.pause_reading()
            return
        held, self.held = self.held, None
        if held:
            self.data_received(held)
        self.transport.resume_reading()


class Wire:
    """The listener a node takes for its broker, and the connections through it.

    Deaf, it takes connections and bytes and passes nothing on, either way, not even that a side
    closed; when it hears again, all of it follows, as TCP retransmits.
    """

    def __init__(self, broker: Callable[[], tuple[str, int]]) -> None:
        self.deaf = False
        self.refusing = False  # no route: connections are reset at once
        self.fault = "ok"  # what the broker seems to do: one of BROKER_FAULTS
        self.port = 0
        self._broker = broker
        self._server: asyncio.Server | None = None
        self._ends: list[_End] = []  # those of the node; the broker's are their peers
        self._ghosts: list[_End] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._hears = asyncio.Event()
        self._hears.set()

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()
        for ghost in self._ghosts:
            if ghost.transport:
                abort(ghost.transport)
        for task in self._tasks:
            task.cancel()

    def set(self, *, deaf: bool, refusing: bool) -> None:
        self.refusing = refusing
        if deaf != self.deaf:
            self.deaf = deaf
            if deaf:
                self._hears.clear()
            else:
                self._hears.set()
            for end in list(self._ends):
                end.listen(deaf)
                if end.peer:
                    end.peer.listen(deaf)

    def misbehave(self, fault: str) -> None:
        """Let the broker seem to suffer from `fault`, on open connections and new ones."""
        if fault == self.fault:
            return
        self.fault = fault
        for end in list(self._ends):
            if fault == "garbage" and end.transport:
                end.transport.write(GARBAGE)
            elif fault in ("hangup", "refuse") and end.transport:
                end.transport.close()

    def drop(self) -> None:
        """Reset all connections, both ways."""
        for end in list(self._ends):
            for side in (end, end.peer):
                if side and side.transport:
                    abort(side.transport)

    def vanish(self) -> None:
        """The node loses power: the broker is told nothing, its connections stay half open."""
        for end in list(self._ends):
            peer, end.peer = end.peer, None
            if peer and peer.transport:
                peer.ghost = True
                peer.peer = None
                peer.transport.resume_reading()  # only to notice when the broker gives up
                self._ghosts.append(peer)
            end.early.clear()
            if end.transport:
                abort(end.transport)
        while len(self._ghosts) > MAX_GHOSTS:
            oldest = self._ghosts.pop(0)
            if oldest.transport:
                abort(oldest.transport)

    def forget(self, end: _End) -> None:
        for group in (self._ends, self._ghosts):
            if end in group:
                group.remove(end)

    @property
    def connections(self) -> int:
        return len(self._ends)

    def _accept(self) -> _End:
        end = _NodeEnd(self)
        self._ends.append(end)
        return end

    def dial(self, end: _End) -> None:
        task = asyncio.get_running_loop().create_task(self._dial(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, end: _End) -> None:
        loop = asyncio.get_running_loop()
        await self._hears.wait()  # deaf, nothing gets through; what is sent waits
        if not end.open and not end.early:
            return
        host, port = self._broker()
        peer = _End(self)
        peer.peer = end
        try:
            await loop.create_connection(lambda: peer, host, port)
        except OSError:
            if end.transport:
                abort(end.transport)
            return
        side = peer.transport
        if side is None:
            return
        end.peer = peer
        peer.write(bytes(end.early))
        end.early.clear()
        if not end.open:  # said all it had to say and closed meanwhile
            side.close()
            return
        peer.listen(self.deaf)


class _NodeEnd(_End):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.wire.refusing:
            abort(transport)
            return
        if self.wire.fault == "garbage":
            self.write(GARBAGE)
        if self.wire.deaf:
            self.listen(True)
        if self.wire.fault not in ("hangup", "refuse"):
            self.wire.dial(self)

    def data_received(self, data: bytes) -> None:
        if self.peer is None and self.wire.fault in ("hangup", "refuse") and self.transport:
            if self.wire.fault == "refuse":
                self.transport.write(REFUSAL)
            self.transport.close()
            return
        super().data_received(data)


def abort(transport: asyncio.BaseTransport) -> None:
    """Close with a reset rather than a goodbye."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # closed already
    cast(asyncio.Transport, transport).abort()


def check_fault(kind: str, fault: str, known: tuple[str, ...]) -> str:
    """`fault` if known; raises ValueError naming what is allowed."""
    if fault not in known:
        raise ValueError(f"{kind} fault '{fault}' is not one of {', '.join(known)}")
    return fault
