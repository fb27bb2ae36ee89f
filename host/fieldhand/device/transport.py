"""mpremote's transport over any port pyserial opens, with a deadline for every wait.

The only file that imports mpremote; imported where it is used, since mpremote is optional.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from fieldhand.device.wire import READ_S, Wire

__all__ = ["Transport", "TransportError", "quiet"]


class Transport(SerialTransport):  # type: ignore[misc,unused-ignore]
    """Raw REPL and raw paste by mpremote 1.24 or later. Raises OSError of the port, TransportError.

    `deadline` (monotonic seconds) ends whatever is waited for.
    """

    def __init__(self, port: str) -> None:
        # Not super().__init__: it cannot be told to give up, and 1.24's knows other options.
        self.in_raw_repl = False
        self.use_raw_paste = True
        self.device_name = port
        self.mounted = False
        self.is_pty = False
        self.deadline: float | None = None
        self.serial = Wire(port)

    def close(self) -> None:
        self.serial.close()

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = 10,
        data_consumer: Callable[[bytes], None] | None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """As mpremote's, of which 1.24's would wait for ever for the first byte."""
        end = time.monotonic() + (timeout_overall or timeout or READ_S)
        if self.deadline is not None:
            end = self.deadline
        data = bytearray()
        while time.monotonic() < end:
            got = self.serial.some()
            at = (bytes(data[-len(ending) :]) + got).find(ending)
            if at < 0:
                data += got
                continue
            taken = at + len(ending) - min(len(data), len(ending))
            self.serial.push_back(got[taken:])
            data += got[:taken]
            break
        if data_consumer is not None:
            data_consumer(bytes(data))
        return bytes(data)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """mpremote prints to stdout what it could not make sense of."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
