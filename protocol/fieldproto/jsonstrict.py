"""JSON from the wire, equally strict on both runtimes.

MicroPython's `json` accepts `[1 2]`, `{"a" 1}` and `{"a":1,}`, and turns an escaped surrogate
pair into text that is not UTF-8 any more. A half-transmitted command must not start a pump, so
where the runtime is lenient the structure is checked first.
"""

import json

MAX_PAYLOAD = 16384  # bytes; the largest documented message is under 1 KB
MAX_DEPTH = 8  # the deepest documented message (DESE config) has 4

try:
    json.loads("[1 2]")
    _LENIENT = True
except ValueError:
    _LENIENT = False


def loads(payload: bytes) -> object:
    """The value in `payload`. Raises ValueError with the reason, nothing else."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError("%d bytes are over the limit of %d" % (len(payload), MAX_PAYLOAD))
    payload = bytes(payload)
    try:
        text = payload.decode("utf-8")
    except UnicodeError:
        raise ValueError("is not UTF-8") from None
    if _LENIENT:
        check(payload)
        return json.loads(text)
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH:
        check(payload)
    from . import jsonhost

    return jsonhost.loads(text)


def check(data: bytes) -> None:
    """Raise ValueError unless `data` has the structure of one JSON value (RFC 8259)."""
    closers = bytearray(MAX_DEPTH)
    depth = 0
    expect = "value"  # what the grammar allows next
    done = False
    i = 0
    end = len(data)
    while i < end:
        c = data[i]
        if c in b" \t\r\n":
            i += 1
            continue
        if done:
            raise ValueError("is not JSON: text after the end")
        if c == 0x22:  # "
            i = _string_end(data, i + 1, end)
            if expect in ("key", "key or }"):
                expect = ":"
                continue
            if expect not in ("value", "value or ]"):
                raise ValueError("is not JSON: a comma or colon is missing")
            expect = ","
        elif c in b"{[":
            if expect not in ("value", "value or ]"):
                raise ValueError("is not JSON: a comma or colon is missing")
            if depth == MAX_DEPTH:
                raise ValueError("is nested deeper than %d" % MAX_DEPTH)
            closers[depth] = c + 2  # "{" + 2 is "}", "[" + 2 is "]"
            depth += 1
            expect = "key or }" if c == 0x7B else "value or ]"
            i += 1
            continue
        elif c in b"}]":
            if (
                not depth
                or closers[depth - 1] != c
                or expect not in (",", "value or ]" if c == 0x5D else "key or }")
            ):
                raise ValueError("is not JSON: a bracket is out of place")
            depth -= 1
            expect = ","
            i += 1
        elif c == 0x2C and expect == "," and depth:  # ,
            expect = "key" if closers[depth - 1] == 0x7D else "value"
            i += 1
            continue
        elif c == 0x3A and expect == ":":  # :
            expect = "value"
            i += 1
            continue
        elif expect in ("value", "value or ]"):
            i = _scalar_end(data, i, end)
            expect = ","
        else:
            raise ValueError("is not JSON: a character is out of place")
        done = not depth
    if not done:
        raise ValueError("is not JSON: it ends too early")


def _string_end(data: bytes, i: int, end: int) -> int:
    while i < end:
        c = data[i]
        if c == 0x22:
            return i + 1
        if c < 0x20:
            raise ValueError("is not JSON: a control character in a string")
        if c == 0x5C:  # backslash
            i += 1
            head = data[i : i + 2]
            if head in (b"ud", b"uD") and i + 2 < end and data[i + 2] in b"89abcdefABCDEF":
                raise ValueError("has an escaped surrogate: send the character as UTF-8")
        i += 1
    raise ValueError("is not JSON: it ends too early")


def _scalar_end(data: bytes, i: int, end: int) -> int:
    start = i
    while i < end and data[i] not in b' \t\r\n,:{}[]"':
        i += 1
    token = data[start:i]
    if token in (b"true", b"false", b"null"):
        return i
    digits = token[1:] if token[:1] == b"-" else token
    if not digits or digits[0] not in b"0123456789" or digits[-1] not in b"0123456789":
        raise ValueError("is not JSON: %s" % _printable(token))
    if len(digits) > 1 and digits[:1] == b"0" and digits[1] in b"0123456789":
        raise ValueError("is not JSON: %s" % _printable(token))
    for c in digits:
        if c not in b"0123456789.eE+-":
            raise ValueError("is not JSON: %s" % _printable(token))
    return i


def _printable(token: bytes) -> str:
    return "".join([chr(c) if 32 < c < 127 else "?" for c in token[:20]])
