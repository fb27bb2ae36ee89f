"""From node.json to a node with everything it needs. Loaded at the start, then forgotten."""

import gc
import time

from . import identity, log, store
from .clock import Clock
from .memory import forget, load
from .version import VERSION

COMPLAIN_MS = 10000


_CODE = (
    "fieldnode.session",
    "fieldproto.encoding",
    "fieldproto.dialect",
    "fieldproto.dialects",
    "fieldnode.relay",
    "fieldnode.node",
    "fieldnode.health",
    "fieldnode.link",
    "fieldnode.wifi",
    "fieldnode.backoff",
    "fieldnode.outages",
)


def load_code():
    """Load what every node keeps: what else is in the heap by then makes holes when it goes."""
    for name in _CODE:
        load(name)
    load("fieldnode.batch").reserve()


def build(raw, fault, hal, nvs, crashes):
    """(node, watchdog) from the contents of node.json. Does not return without a usable broker.

    With a `fault`, `raw` is what NVS kept of node.json, or None. In an order that keeps the heap's
    high water low: check, forget the check, then the node.
    """
    facts = unsaved = None
    seal = raw.pop("seal", None) if isinstance(raw, dict) else None  # start.py has checked it
    if seal and seal["firmware"] == VERSION and not (fault or crashes.safe):
        config = raw
        facts = seal["sensors"]
    else:
        config, fault = _check(raw, fault, nvs, crashes.safe)
    if not (fault or crashes.safe):
        unsaved = load("fieldnode.backup").due(raw, nvs)
    forget("fieldnode", "backup")
    raw = None
    identity.adopt_secrets(nvs)
    config["node"] = identity.node_id(config, nvs, hal.unique_id())
    identity.fill_secrets(config, nvs)
    won, given_up = _slots(config, nvs)
    for section, key in (("wifi", "ssid"), ("broker", "host")):
        if config[section].get(key) is None:
            _refuse_for_ever("neither node.json nor NVS has %s.%s" % (section, key))
    forget("fieldproto", "nodeconfig", "controlconfig", "bands", "sections")
    clock = Clock(time)
    session = _session(config, clock)
    sensors = relays = []
    try:
        sensors, relays = _parts(config, hal, clock, facts)
    except ValueError as error:  # a pin the chip does not have, or not for that
        fault = "node.json: %s" % error  # never half a node: it only says what is wrong
        for key in ("dosing", "schedules", "alerts"):
            config.pop(key, None)
    if fault:
        log.line("E", fault)
    forget("fieldproto", "sensortable", "sensortypes", "calibration", "quantities")
    forget("fieldnode.sensors", "build")
    facts = seal = None
    dialects = load("fieldproto.dialects")
    gc.collect()
    try:
        dialect = dialects.load(config["dialect"], config.get("options", {}), config["extras"])
    except ValueError as error:
        _refuse_for_ever("node.json: %s" % error)
    dialect.slim()
    forget("fieldproto.dialects", dialect.name)
    forget("fieldproto", "jsonstrict")
    if crashes.fresh and hal.reset_cause() == "hard":
        hal.cause = "crash"
    node = load("fieldnode.node").Node(config, dialect, hal, clock, sensors, relays, fault)
    if given_up:
        node.notices.append("alert", given_up)
    controls(node, config, clock, hal.reset_cause())
    for key in ("sensors", "actuators", "dosing", "schedules", "i2c", "options"):
        config.pop(key, None)  # who needs it has it by now
    _guard(node, hal, clock, nvs, crashes, unsaved)
    node.session = session
    _connect(node, config, dialect, hal, clock)
    if won:
        node.parts.append(load("fieldnode.slottrial").Trial(node, clock, nvs, won))
    config.pop("wifi")
    log.info("%s speaks %s" % (node.id, dialect.name))
    return node, hal.watchdog(config["watchdog_ms"])


def _slots(config, nvs):
    """As slots.use; most nodes have none and do without the module."""
    if not (nvs.get_str("net") or nvs.get_str("net_trial")):
        return None, None
    found = load("fieldnode.slots").use(config, nvs)
    forget("fieldnode", "slots")
    if not found[0]:
        forget("fieldnode", "slottrial", "trial")
    return found


def _check(raw, fault, nvs, safe):
    """(checked node.json, what is wrong with it or None)."""
    nodeconfig = load("fieldproto.nodeconfig")
    if not fault:
        try:
            config = nodeconfig.load(raw)
            if not safe:
                return config, None
        except ValueError as error:
            fault = "node.json: %s" % error
    config = _connection_only(nodeconfig, raw)
    if config is None:
        config = _connection_only(nodeconfig, load("fieldnode.backup").load(nvs))
    if config is None:
        _refuse_for_ever(fault)
    return config, fault


def _guard(node, hal, clock, nvs, crashes, unsaved):
    """What tells of crashes and repairs, and keeps the next one from doing harm."""
    health = load("fieldnode.health").Health
    node.parts.append(health(node, hal, clock, nvs, crashes, unsaved))
    if crashes.safe:
        log.line("E", "safe mode after %d crashes" % crashes.count)
        node.commands.safe = True
    if crashes.fresh:
        event = {"event": "crash", "traceback": crashes.text, "count": crashes.count}
        node.notices.append("event", event)
    for what in store.damaged:
        node.notices.append("event", {"event": "repaired", "what": what})
    node.notices.flush()  # a crash comes back sooner than the next write is due
    crashes.told()


def _parts(config, hal, clock, facts):
    """(sensors, relays). Raises ValueError."""
    build_sensors = load("fieldnode.sensors.build").build
    sensors = build_sensors(config["sensors"], hal, clock, config.get("i2c"), facts)
    relay = load("fieldnode.relay").Relay
    return sensors, [relay(entry, hal, clock) for entry in config["actuators"]]


def controls(node, config, clock, cause):
    """What stands behind the relays, and what makes the node act by itself; many have neither."""
    if node.actuators:
        node.parts.append(load("fieldnode.runs").Runs(node, config, clock, cause))
    if config.get("dosing"):
        node.parts.append(load("fieldnode.dosing").Dosing(config["dosing"], node, clock))
    if config.get("schedules"):
        schedules = load("fieldnode.schedules").Schedules
        node.parts.append(schedules(config["schedules"], node, clock, config["utc_offset_min"]))


def _session(config, clock):
    # Before the heap is full of holes: its buffers are the largest blocks of all.
    broker = config["broker"]
    return load("fieldnode.session").Session(
        config["node"],
        broker["host"],
        broker["port"],
        broker.get("user"),
        broker.get("password"),
        broker["keepalive_s"],
        _tls(broker["tls"]) if "tls" in broker else None,
        clock,
    )


def _connect(node, config, dialect, hal, clock):
    wifi = config["wifi"]
    node.link = load("fieldnode.link").Link(
        clock,
        load("fieldnode.wifi").Wifi(hal.wlan(), wifi["ssid"], wifi.get("password"), clock),
        node.make_session,
        load("fieldnode.backoff").Backoff(load("random").getrandbits),
        dialect.subscriptions("node", node.id),
        node,
        config["broker"]["clean_session"],
    )
    node.parts.append(load("fieldnode.outages").Outages(node, clock))


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


def _connection_only(nodeconfig, raw):
    """What is needed to complain over MQTT; no sensor and no actuator of a damaged file is used.

    None where even that is not in `raw`.
    """
    keep = ("version", "node", "dialect", "options", "extras", "wifi", "broker")
    try:
        config = nodeconfig.load({key: raw[key] for key in keep if key in raw})
        return config if config["broker"].get("host") else None
    except (ValueError, TypeError):
        return None


def _refuse_for_ever(reason):
    """Nothing can run. Say so until somebody with a cable has read it; Ctrl-C gives the REPL."""
    while True:
        log.line("E", reason)
        time.sleep_ms(COMPLAIN_MS)
