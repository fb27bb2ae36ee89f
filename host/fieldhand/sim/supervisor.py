"""An event loop in a thread, and the server in it that the processes of boards ask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import traceback
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from .protocol import REQUEST, ChipError, SimulatorFault, reply

if TYPE_CHECKING:
    from .board import Board
    from .console import Console

T = TypeVar("T")

# A caller that waits longer for the event loop has found a bug.
_CALL_TIMEOUT_S = 30.0
_MAX_HELLO = 64


class Supervised(Protocol):
    """A board whose process asks this supervisor for its hardware."""

    board: Board
    console: Console
    irq: asyncio.Transport | None


class Supervisor:
    """Runs in a thread of its own until `close`; a context manager."""

    def __init__(self) -> None:
        self._expected: dict[str, Supervised] = {}
        self.closed = False
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="fieldhand-sim", daemon=True)
        self._thread.start()
        self._server = self.run_coroutine(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the loop; it cannot be used again."""
        if self.closed:
            return
        self.closed = True
        try:
            self.run(self._server.close)
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_CALL_TIMEOUT_S)

    def run(self, call: Callable[[], T]) -> T:
        """Run `call` in the event loop and return what it returns."""
        if threading.current_thread() is self._thread:
            return call()

        async def do() -> T:
            return call()

        return self.run_coroutine(do())

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self.loop.is_closed():
            coroutine.close()
            raise RuntimeError("the simulator is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(_CALL_TIMEOUT_S)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def expect(self, token: str, node: Supervised) -> None:
        self._expected[token] = node

    def forget(self, token: str) -> None:
        self._expected.pop(token, None)

    def node_for(self, token: str) -> Supervised | None:
        return self._expected.get(token)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def _listen(self) -> asyncio.Server:
        server = await self.loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, backlog=256
        )
        self.port = server.sockets[0].getsockname()[1]
        return server


class _Connection(asyncio.Protocol):
    """One of the three connections of a node's process."""

    def __init__(self, sim: Supervisor) -> None:
        self._sim = sim
        self._node: Supervised | None = None
        self._token = ""
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._node is None and not self._hello():
            return
        while len(self._data) >= REQUEST.size:
            op, size, a, b, c = REQUEST.unpack_from(self._data)
            end = REQUEST.size + size
            if len(self._data) < end:
                return
            payload, self._data = self._data[REQUEST.size : end], self._data[end:]
            self._answer(op, a, b, c, payload)

    def _hello(self) -> bool:
        line, found, rest = self._data.partition(b"\n")
        if not found:
            if len(self._data) > _MAX_HELLO and self._transport:
                self._transport.abort()
            return False
        self._token, _, kind = line.decode("ascii", "replace").partition(" ")
        self._node = self._sim.node_for(self._token)
        if self._node is None:
            # Of a boot that is over, or a stranger.
            if self._transport:
                self._transport.abort()
            return False
        self._data = rest
        if kind == "2":
            self._node.irq = self._transport
        return True

    def _answer(self, op: int, a: int, b: int, c: int, payload: bytes) -> None:
        node = self._node
        if node is None or self._sim.node_for(self._token) is not node:
            return
        answer: int | bytes | ChipError | None
        try:
            answer = node.board.answer(op, a, b, c, payload)
        except ChipError as error:
            answer = error
        except Exception as error:
            # Ours, not the node's: it must not look like a reset of the board.
            node.console.feed(("simulator: " + traceback.format_exc()).encode())
            answer = SimulatorFault(f"simulator: {error!r}")
        # A reset is not answered: its process is gone by now.
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply(answer))
