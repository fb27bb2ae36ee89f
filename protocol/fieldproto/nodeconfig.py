"""node.json: what a node may be told. The host validates it before it is sent, the node again."""

from .bands import check_band
from .schema import Field as F
from .schema import FieldError
from .sections import MAX_RUN_S, section, sections
from .sensortypes import SensorConfigError, yields
from .sensortypes import check as check_sensors

VERSION = 1

FIELDS = (
    F("version", "int", required=True, lo=VERSION, hi=VERSION),
    F("node", "string", lo=1, hi=64, doc="id; absent: from NVS, else made from the MAC"),
    F("dialect", "string", required=True),
    F("options", "object", doc="what the dialect needs: org, company, use_new_topics"),
    F("options.*", "any"),
    F("extras", "bool", default=True, doc="provenance and answers in the extension key"),
    F("wifi", "object"),
    F("wifi.ssid", "string", lo=1, hi=32),
    F("wifi.password", "string", hi=63),
    F("broker", "object", required=True),
    F("broker.host", "string", required=True, lo=1),
    F("broker.port", "int", lo=1, hi=65535),
    F("broker.user", "string"),
    F("broker.password", "string"),
    F("broker.tls", "object", doc="present: TLS; ca = PEM or DER file on the node"),
    F("broker.tls.ca", "string"),
    F("broker.tls.server_name", "string"),
    F("broker.keepalive_s", "int", lo=5, hi=65535, unit="s", default=60),
    F("broker.clean_session", "bool", default=True),
    F("ntp_host", "string", default="pool.ntp.org"),
    F("interval_ms", "int", lo=1000, hi=86400000, unit="ms", default=30000),
    F("status_interval_ms", "int", lo=1000, hi=86400000, unit="ms", default=60000),
    F("watchdog_ms", "int", lo=5000, hi=600000, unit="ms", default=60000),
    F("outbox_bytes", "int", lo=16384, hi=1048576, unit="B", default=262144, doc="queue on flash"),
    F(
        "outbox_flush_s",
        "int",
        lo=1,
        hi=86400,
        unit="s",
        default=360,
        doc="what a power cut may cost: readings wait that long in RAM for the next write",
    ),
    F("utc_offset_min", "int", lo=-720, hi=840, unit="min", default=0, doc="of the schedules"),
    F("i2c", "object"),
    F("i2c.scl", "int", required=True, lo=0, hi=48),
    F("i2c.sda", "int", required=True, lo=0, hi=48),
    F("led", "object"),
    F("led.pin", "int", required=True, lo=0, hi=48),
    F("led.active_low", "bool", default=False),
    F("sensors", "list"),
    F("actuators", "list"),
    F("dosing", "list"),
    F("schedules", "list"),
    F("alerts", "object", doc="quantity -> band"),
    F("alerts.*", "object"),
    F("alerts.*.min", "number"),
    F("alerts.*.max", "number"),
    F("alerts.*.hysteresis", "number", lo=0, doc="how far back inside clears the alert"),
    F("alerts.*.hold_s", "int", lo=0, hi=86400, unit="s", doc="outside that long raises it"),
    F("alerts.*.severity", "string", values=("info", "warning", "critical")),
    F("seal", "object", doc="of the host that checked it, see fieldnode.start"),
    F("seal.*", "any"),
)

ACTUATOR_FIELDS = (
    F("name", "string", required=True, lo=1, hi=32),
    F("id", "int", lo=1, hi=255, doc="number in the dialect's commands; default: its place"),
    F("pin", "int", required=True, lo=0, hi=48),
    F("active_low", "bool", default=False, doc="relay boards that switch on at 0 V"),
    F("max_run_s", "int", required=True, lo=1, hi=MAX_RUN_S, unit="s"),
    F("flow_ml_per_s", "number", lo=0.001, hi=100000, unit="ml/s"),
    F("per_hour", "object", doc="what an hour of running takes or yields: energy, area ..."),
    F("per_hour.*", "number", lo=0),
    F("daily_run_s", "int", lo=1, hi=86400, unit="s", doc="budget of a day"),
    F("daily_ml", "number", lo=1, unit="ml", doc="budget of a day; needs a flow"),
    F("min_rest_s", "int", lo=0, hi=86400, unit="s", default=0),
    F(
        "link_grace_s",
        "int",
        lo=0,
        hi=86400,
        unit="s",
        default=60,
        doc="a commanded run ends when the broker is away that long",
    ),
    F("flow_meter", "int", lo=0, hi=48, doc="pin of the pulse sensor with pulses_per_litre"),
    F("dry_run_s", "int", lo=1, hi=3600, unit="s", default=10, doc="on without flow; flow_meter"),
    F("leak_ml", "number", lo=1, unit="ml", default=100, doc="flow while off in a minute"),
    F("tank_min", "number", lo=0, hi=100, unit="%", doc="water_level below which nothing runs"),
)


def load(obj):
    """A checked copy of `obj` with the defaults filled in.

    Raises FieldError naming the key ("actuators[0].pin") and what is allowed.
    """
    if not isinstance(obj, dict):
        raise FieldError("node.json", "is not a JSON object")
    config = section(obj, FIELDS)
    config.pop("seal", None)
    actuators = sections(config, "actuators", ACTUATOR_FIELDS)
    for i in range(len(actuators)):
        where = "actuators[%d]" % i
        actuators[i].setdefault("id", i + 1)
        for other in actuators[:i]:
            for key in ("name", "id"):
                if other[key] == actuators[i][key]:
                    raise FieldError(where + "." + key, "%r is used twice" % other[key])
    try:
        check_sensors(config.setdefault("sensors", []))
    except SensorConfigError as error:
        raise FieldError(error.path, error.reason) from None
    _check_pins(config)
    _check_flow(config)
    for name in config.get("alerts", {}):
        check_band(config["alerts"][name], "alerts." + name)
    if config.get("dosing") or config.get("schedules"):
        from . import controlconfig  # many nodes have neither

        controlconfig.check(config)
    broker = config["broker"]
    broker.setdefault("port", 8883 if "tls" in broker else 1883)
    return config


def _check_flow(config):
    meters = []
    for sensor in config["sensors"]:
        if sensor["type"] == "pulse" and "pulses_per_litre" in sensor:
            meters.append(sensor["pin"])
    level = any(["water_level" in yields(sensor) for sensor in config["sensors"]])
    for i, actuator in enumerate(config["actuators"]):
        where = "actuators[%d]." % i
        meter = actuator.get("flow_meter")
        if meter is not None and meter not in meters:
            raise FieldError(where + "flow_meter", "no pulse sensor with pulses_per_litre on it")
        if "daily_ml" in actuator and meter is None and "flow_ml_per_s" not in actuator:
            raise FieldError(where + "daily_ml", "needs flow_ml_per_s or a flow_meter")
        if "tank_min" in actuator and not level:
            raise FieldError(where + "tank_min", "no sensor measures water_level")


def _check_pins(config):
    places = {}
    owners = [("led.pin", config.get("led", {}).get("pin"))]
    owners += [("i2c." + key, config.get("i2c", {}).get(key)) for key in ("scl", "sda")]
    for i, actuator in enumerate(config["actuators"]):
        owners.append(("actuators[%d].pin" % i, actuator["pin"]))
    for where, pin in owners:
        if pin in places and pin is not None:
            raise FieldError(where, "GPIO%d is already used by %s" % (pin, places[pin]))
        places[pin] = where
    for i, sensor in enumerate(config["sensors"]):  # among themselves: sensortypes.check
        pin = sensor.get("pin")
        if pin is not None and pin in places:
            where = "sensors[%d].pin" % i
            raise FieldError(where, "GPIO%d is already used by %s" % (pin, places[pin]))
