"""From power-on to the running loop. Outputs are off before anything else is looked at."""

import gc
import json
import sys
import time

from . import log
from .hal import Hal

CONFIG = "node.json"
CRASH_PAUSE_MS = 5000  # to read the console; then the node starts afresh
COMPLAIN_MS = 10000


def main():
    """Run the node for ever; a crash puts the outputs off and resets."""
    hal = Hal()
    raw = _read(CONFIG)
    _outputs_off(hal, raw)
    node = None
    try:
        node, watchdog = build(raw, hal)
        node.run(watchdog)
    except KeyboardInterrupt:  # mpremote
        _outputs_off(hal, raw)
        raise
    except Exception as error:
        _outputs_off(hal, raw)
        log.line("E", "the node crashed:")
        sys.print_exception(error)
        time.sleep_ms(CRASH_PAUSE_MS)
        hal.reset()


def build(raw, hal):
    """(node, watchdog) from the contents of node.json. Does not return without a usable broker."""
    from fieldproto import dialects, nodeconfig

    from . import identity, sensors
    from .actuators import Relay
    from .clock import Clock
    from .node import Node

    fault = None
    try:
        config = nodeconfig.load(raw)
    except ValueError as error:
        fault = "node.json: %s" % error
        config = _connection_only(nodeconfig, raw, fault)
    nvs = hal.nvs(identity.NAMESPACE)
    config["node"] = identity.node_id(config, nvs, hal.unique_id())
    identity.fill_secrets(config, nvs)
    for section, key in (("wifi", "ssid"), ("broker", "host")):
        if config[section].get(key) is None:
            _refuse_for_ever("neither node.json nor NVS has %s.%s" % (section, key))
    try:
        dialect = dialects.load(config["dialect"], config.get("options", {}), config["extras"])
    except ValueError as error:
        _refuse_for_ever("node.json: %s" % error)
    clock = Clock(time)
    relays = [Relay(entry, hal, clock) for entry in config["actuators"]]
    try:
        devices = sensors.build(config["sensors"], hal, clock, config.get("i2c"))
    except ValueError as error:
        fault = "node.json: %s" % error
        devices = []
    if fault:
        log.line("E", fault)
    _forget("nodeconfig", "sensortable")
    node = Node(config, dialect, hal, clock, devices, relays, fault)
    node.link = _link(node, config, dialect, hal, clock)
    log.info("%s speaks %s" % (node.id, dialect.name))
    return node, hal.watchdog(config["watchdog_ms"])


def _forget(*modules):
    """Drop what only the check of node.json needed: 12 kB of the ESP32's heap."""
    import fieldproto

    for name in modules:
        if sys.modules.pop("fieldproto." + name, None):
            delattr(fieldproto, name)
    gc.collect()


def _link(node, config, dialect, hal, clock):
    import random

    from .backoff import Backoff
    from .link import Link
    from .session import Session
    from .wifi import Wifi

    broker = config["broker"]
    tls = _tls(broker["tls"]) if "tls" in broker else None

    session = Session(
        node.id,
        broker["host"],
        broker["port"],
        broker.get("user"),
        broker.get("password"),
        node.keepalive_s,
        tls,
        clock,
    )

    def make_session():
        # Wi-Fi is up by now; the time comes first because DESE's will carries it.
        node.time_step()
        will = node.will()
        if will is not None:
            session.set_last_will(*will)
        return session

    return Link(
        clock,
        Wifi(hal.wlan(), config["wifi"]["ssid"], config["wifi"].get("password"), clock),
        make_session,
        Backoff(random.getrandbits),
        dialect.subscriptions("node", node.id),
        node,
        broker["clean_session"],
    )


def _tls(options):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ca" in options:
        context.verify_mode = ssl.CERT_REQUIRED
        with open(options["ca"], "rb") as file:
            context.load_verify_locations(cadata=file.read())
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        log.line("E", "%s cannot be read: %s" % (path, error))
        return None


def _outputs_off(hal, raw):
    """Off as far as the file can be understood; a broken entry does not keep the next one on."""
    actuators = raw.get("actuators") if isinstance(raw, dict) else None
    for entry in actuators if isinstance(actuators, list) else ():
        try:
            hal.pin_out(entry["pin"], 1 if entry.get("active_low") else 0)
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            log.warning("an actuator of %s: %s" % (CONFIG, error))


def _connection_only(nodeconfig, raw, fault):
    """What is needed to complain over MQTT; no sensor and no actuator of a damaged file is used."""
    keep = ("version", "node", "dialect", "options", "extras", "wifi", "broker")
    try:
        return nodeconfig.load({key: raw[key] for key in keep if key in raw})
    except (ValueError, TypeError):
        _refuse_for_ever(fault)


def _refuse_for_ever(reason):
    """Nothing can run. Say so until somebody with a cable has read it; Ctrl-C gives the REPL."""
    while True:
        log.line("E", reason)
        time.sleep_ms(COMPLAIN_MS)
