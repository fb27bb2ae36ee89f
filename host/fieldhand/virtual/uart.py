"""The board's UART: one stream of bytes, which both of its ports show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Port(Protocol):
    """A port as the UART sees it."""

    @property
    def unsent(self) -> int:
        """Bytes the host has not taken yet."""

    def send(self, data: bytes) -> None:
        """To the host."""

    def cut(self) -> None:
        """The cable is pulled."""


class Side(Protocol):
    """The board as a port sees it; everything in the event loop."""

    # Bytes kept for a host that does not read; a UART keeps none.
    max_unread: int

    def opened(self, port: Port) -> bool:
        """Somebody wants the port; False: it is taken."""

    def received(self, port: Port, data: bytes) -> None:
        """Bytes from the host."""

    def lines(self, dtr: bool | None, rts: bool | None) -> None:
        """Control lines changed."""

    def closed(self, port: Port) -> None:
        """The host closed it, or is gone."""


@dataclass
class Uart:
    """The ports that are open, `Side` of each."""

    take: Callable[[Port, bytes], None]
    set_lines: Callable[[bool | None, bool | None], None]
    gone: Callable[[Port], None]
    network: Port | None = None
    ports: list[Port] = field(default_factory=list)
    max_unread: int = 1 << 20

    @property
    def unsent(self) -> int:
        """Bytes that the slowest host has not taken yet."""
        return max((port.unsent for port in self.ports), default=0)

    def send(self, data: bytes) -> None:
        """To whoever listens."""
        for port in self.ports:
            port.send(data)

    def cut(self) -> None:
        """The cable is pulled."""
        ports, self.ports, self.network = self.ports, [], None
        for port in ports:
            port.cut()

    def opened(self, port: Port) -> bool:
        if self.network is not None:
            return False
        self.network = port
        self.ports.append(port)
        return True

    def received(self, port: Port, data: bytes) -> None:
        self.take(port, data)

    def lines(self, dtr: bool | None, rts: bool | None) -> None:
        self.set_lines(dtr, rts)

    def closed(self, port: Port) -> None:
        if port is self.network:
            self.network = None
            self.ports.remove(port)
        self.gone(port)
