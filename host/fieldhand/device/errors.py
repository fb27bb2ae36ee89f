"""What goes wrong with a board that answers, or should."""

from __future__ import annotations

from fieldhand.errors import FieldhandError


class DeviceError(FieldhandError):
    """The board at `port` does not do what was asked of it."""

    def __init__(self, port: str, reason: str) -> None:
        super().__init__(f"{port}: {reason}")
        self.port = port
        self.reason = reason


class DeviceException(DeviceError):
    """Code that ran on the board raised; `traceback` is what MicroPython printed of it."""

    def __init__(self, port: str, traceback: str) -> None:
        lines = traceback.strip().splitlines()
        self.traceback = traceback
        self.error = lines[-1] if lines else "an exception"
        full = "ENOSPC" in self.error or self.error == "OSError: 28"
        super().__init__(port, "its file system is full" if full else f"on the board: {self.error}")
        self.full = full
