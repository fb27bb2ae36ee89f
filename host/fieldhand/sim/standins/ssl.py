"""`ssl` that judges certificates by the chip's clock, as mbedTLS does on the ESP32.

The unix port's mbedTLS judges them by this machine's clock, and still does: what is refused besides
is what the simulated clock says is not yet or no longer valid.
"""

import sys
import time

# The frozen one, which is otherwise as on the chip.
_path = sys.path[:]
sys.path[:] = [".frozen"]
_self = sys.modules.pop("ssl", None)
try:
    import ssl as _frozen
finally:
    sys.path[:] = _path

_UTC_TIME = 0x17


class SSLContext(_frozen.SSLContext):
    def __init__(self, *args):
        super().__init__(*args)
        self._context.verify_callback = _judge


_frozen.SSLContext = SSLContext  # for its wrap_socket(), and whoever imports it after us


def __getattr__(name):
    return getattr(_frozen, name)


def _judge(der, _depth):
    """Called for each certificate of a chain. Raises mbedTLS's error, in its words."""
    t = time.gmtime()
    now = "%04d%02d%02d%02d%02d%02dZ" % t[:6]
    begin, end = _validity(der)
    if now < begin:
        raise ValueError("\nThe certificate validity starts in the future\n")
    if now > end:
        raise ValueError("\nThe certificate validity has expired\n")
    return 0


def _validity(der):
    """(not before, not after) of an X.509 certificate, "YYYYMMDDHHMMSSZ": RFC 5280, 4.1."""
    at = _element(der, 0)[1]  # Certificate
    at = _element(der, at)[1]  # TBSCertificate
    if der[at] == 0xA0:  # version
        at = _element(der, at)[2]
    for _ in range(3):  # serial number, algorithm, issuer
        at = _element(der, at)[2]
    at = _element(der, at)[1]
    found = []
    for _ in range(2):
        tag, start, at = _element(der, at)
        text = bytes(der[start:at]).decode()
        if tag == _UTC_TIME:
            text = ("19" if text >= "5" else "20") + text
        found.append(text)
    return found


def _element(der, at):
    """(tag, where the contents begin, where they end) of the DER element at `at`."""
    size = der[at + 1]
    start = at + 2
    if size & 0x80:
        more = size & 0x7F
        size = int.from_bytes(der[start : start + more], "big")
        start += more
    return der[at], start, start + size
