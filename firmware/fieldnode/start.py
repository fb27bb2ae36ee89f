"""From power-on to the running loop. Outputs are off before anything else is looked at."""

import gc
import sys
import time

from fieldproto.jsonstrict import loads

from . import log
from .hal import Hal

CONFIG = "node.json"
CRASH_PAUSE_MS = 5000  # to read the console; then the node starts afresh


def main():
    """Run the node for ever; a crash puts the outputs off and resets."""
    hal = Hal()
    raw = _read(CONFIG)
    actuators = raw.get("actuators") if isinstance(raw, dict) else None
    _outputs_off(hal, actuators)
    try:
        from .assemble import build, forget

        node, watchdog = build(raw, hal)
        forget("fieldnode", "identity", "assemble")
        raw = build = forget = None
        gc.collect()
        node.run(watchdog)
    except KeyboardInterrupt:  # mpremote
        _outputs_off(hal, actuators)
        raise
    except Exception as error:
        _outputs_off(hal, actuators)
        log.line("E", "the node crashed:")
        sys.print_exception(error)
        time.sleep_ms(CRASH_PAUSE_MS)
        hal.reset()


def _read(path):
    try:
        with open(path, "rb") as file:
            return loads(file.read())
    except (OSError, ValueError) as error:
        log.line("E", "%s cannot be read: %s" % (path, error))
        return None


def _outputs_off(hal, actuators):
    """Off as far as the file can be understood; a broken entry does not keep the next one on."""
    for entry in actuators if isinstance(actuators, list) else ():
        try:
            hal.pin_out(entry["pin"], 1 if entry.get("active_low") else 0)
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            log.warning("an actuator of %s: %s" % (CONFIG, error))
