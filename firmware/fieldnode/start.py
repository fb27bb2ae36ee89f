"""From power-on to the running loop. Outputs are off before anything else is looked at."""

import gc
import json
import os
import sys
import time
from binascii import crc32

from . import log
from .crashes import PAUSE_MS, Crashes
from .hal import Hal
from .identity import NAMESPACE
from .memory import forget

CONFIG = "node.json"
_SEAL = 12  # bytes at its end: eight hex digits, a quote, two braces and a newline
_SLICE_MS = 1000  # of a pause, between two feeds of the watchdog


def main():
    """Run the node for ever; a crash puts the outputs off and, after a pause, resets."""
    hal = Hal()
    raw, fault = _read(CONFIG)
    outputs = _outputs_off(hal, raw)
    crashes = watchdog = node = None
    try:
        nvs = hal.nvs(NAMESPACE)
        crashes = Crashes(nvs, hal.reset_cause())
        if raw is None:
            from . import backup

            raw = backup.load(nvs)
            outputs = _outputs_off(hal, raw)
        _sweep()
        from .assemble import build, load_code

        if not fault:
            raw = None  # read once more: code comes first, while the heap is whole
        load_code()
        if not fault:
            raw, fault = _read(CONFIG)
        node, watchdog = build(raw, fault, hal, nvs, crashes)
        forget("fieldnode", "identity", "assemble")
        raw = build = None
        gc.collect()
        node.run(watchdog)
    except KeyboardInterrupt:  # mpremote
        _off(hal, outputs)
        raise
    except Exception as error:
        _off(hal, outputs)
        node = raw = None  # room for what follows
        gc.collect()
        log.line("E", "the node crashed:")
        sys.print_exception(error)
        _pause(crashes.note(error) if crashes else PAUSE_MS, watchdog)
        hal.reset()


def _read(path):
    """(what is in `path`, None), or (None, what is wrong with it)."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        if _sealed(data):
            return json.loads(data), None
        from fieldproto.jsonstrict import loads

        raw = loads(data)
        if isinstance(raw, dict):
            raw.pop("seal", None)
        return raw, None
    except (OSError, ValueError) as error:
        fault = "%s cannot be read: %s" % (path, error)
        log.line("E", fault)
        return None, fault


def _sealed(data):
    """Whether it is what a host checked, byte for byte: ends with its CRC-32."""
    at = len(data) - _SEAL
    try:
        return int(str(data[at : at + 8], "ascii"), 16) == crc32(memoryview(data)[:at])
    except ValueError:
        return False


def _outputs_off(hal, raw):
    actuators = raw.get("actuators") if isinstance(raw, dict) else None
    if not isinstance(actuators, list):
        actuators = ()
    _off(hal, actuators)
    return actuators


def _off(hal, actuators):
    """Off as far as the file can be understood; a broken entry does not keep the next one on."""
    try:
        for entry in actuators:
            try:
                hal.pin_out(entry["pin"], 1 if entry.get("active_low") else 0)
            except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
                log.warning("an actuator of %s: %s" % (CONFIG, error))
    except KeyboardInterrupt:  # in the midst of it, as when Ctrl-C is pressed twice
        _off(hal, actuators)
        raise


def _sweep():
    """Remove what a power cut left of a file that was being written, see store.py."""
    try:
        for name in os.listdir():
            if name.endswith(".new"):
                os.remove(name)
    except OSError as error:
        log.warning("the file system: %s" % error)


def _pause(ms, watchdog):
    log.line("E", "next start in %d s" % (ms // 1000))
    while ms > 0:
        if watchdog:
            watchdog.feed()
        time.sleep_ms(_SLICE_MS)
        ms -= _SLICE_MS
