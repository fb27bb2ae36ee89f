"""Versions, memory, file system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, warn

OLDEST = (1, 24)  # MicroPython
MPY_FORMAT = 6  # what building/mpy.py compiles to
# Free heap of an ESP32 at its REPL, bytes: README, "A real ESP32". An ESP32-WROOM has 163,000.
LEAST_HEAP = 120_000
GOOD_HEAP = 140_000
# ESP-IDF's own heap: a TLS session takes 16 kB to read into and 4 to write from in one piece each
# (ports/esp32/boards/sdkconfig.base), and as much again while it is made.
LEAST_IDF_BLOCK = 20_000
LEAST_ROOM = 32_768  # bytes of the file system: littlefs writes a block before it frees one
_UNIX = "linux"


def judge(result: Mapping[str, Any], host_version: str) -> Iterator[Finding]:
    yield _micropython(result)
    yield _firmware(result, host_version)
    yield _memory(result)
    yield from _files(result)


def _micropython(result: Mapping[str, Any]) -> Finding:
    version = str(result.get("micropython", "0"))
    machine = str(result.get("machine", "unknown")).strip()
    format_, minor = (*result.get("mpy", (0, 0)), 0, 0)[:2]
    data = {"version": version, "machine": machine, "mpy": [format_, minor]}
    text = f"{version} on {machine}, mpy format {format_}.{minor}"
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return fail("MicroPython", text, f"Fieldhand needs {wanted}: `fieldhand flash`", **data)
    if format_ != MPY_FORMAT:
        advice = f"The firmware is compiled for format {MPY_FORMAT}: `fieldhand deploy --source`"
        return fail("MicroPython", text, advice, **data)
    return ok("MicroPython", text, **data)


def _firmware(result: Mapping[str, Any], host: str) -> Finding:
    found = result.get("firmware")
    data = {"node": found, "host": host}
    if found is None:
        why = result.get("import", "it is not there")
        return fail("firmware", f"cannot be loaded: {why}", "Send it: `fieldhand deploy`", **data)
    if found != host:
        text = f"{found}, this host has {host}"
        return warn("firmware", text, "Bring both to one version: `fieldhand deploy`", **data)
    return ok("firmware", f"{found}, as on this host", **data)


def _memory(result: Mapping[str, Any]) -> Finding:
    # Objects of a 64-bit MicroPython, the simulator's, are twice as large.
    half = 2 if result.get("word", 4) == 8 else 1
    free, block = result["free"] // half, result["block"] // half
    text = f"{_kb(free)} free without the node, largest block {_kb(block)}"
    data: dict[str, Any] = {"free": free, "largest_block": block}
    idf = result.get("idf")
    if idf:
        text += f"; ESP-IDF {_kb(idf[0])}, largest block {_kb(idf[1])}"
        data.update(idf_free=idf[0], idf_largest_block=idf[1])
    if free < LEAST_HEAP:
        advice = "Too little for any node: use a board with PSRAM, or freeze the firmware (README)"
        return fail("memory", text, advice, **data)
    if free < GOOD_HEAP:
        advice = "Enough for a small node only: fewer sensors, or a frozen firmware (README)"
        return warn("memory", text, advice, **data)
    if idf and idf[1] < LEAST_IDF_BLOCK:
        return warn("memory", text, "Too little in one piece for TLS: reset the board", **data)
    return ok("memory", text, **data)


def _files(result: Mapping[str, Any]) -> Iterator[Finding]:
    bad = result.get("bad", [])
    size, room = result.get("size"), result.get("room")
    data = {"size": size, "free": room, "files": result.get("files"), "bad": bad}
    if bad:
        named = "; ".join(f"{path} {why}" for path, why in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        advice = "Send the files again: `fieldhand deploy`; if it comes back, `fieldhand flash`"
        yield fail("file system", f"damaged: {named}{more}", advice, **data)
        return
    if size is None or room is None:
        yield fail("file system", "cannot be read", "Make a new one: `fieldhand flash`", **data)
        return
    text = f"{_kb(room)} free of {_kb(size)}, {result.get('files')} files, all readable"
    if room == 0:
        text = f"full: {text}"
    if room < LEAST_ROOM:
        advice = "Remove what is not the node's, or give outbox_bytes a smaller value"
        yield fail("file system", text, advice, **data)
        return
    yield ok("file system", text, **data)


def _kb(count: int) -> str:
    return f"{count / 1000:,.0f} kB"
