"""The five nodes of the soak: node.json, and how what they send is to be read."""

ORG = "3f2b8c1e-0000-4000-8000-000000000001"

_BAND = {"min": 4, "max": 10, "hysteresis": 0.5, "hold_s": 90}
_DHT = {"type": "dht22", "pin": 4}


def _analog(quantity, pin, value):
    """A sensor that shows `value` at an ADC reading of 1000."""
    return {
        "type": "analog",
        "quantity": quantity,
        "pin": pin,
        "raw": [0, 1000],
        "value": [0, value],
    }


# dialect -> (options, sensors, actuators, more of node.json)
_NODES = {
    "plantnanny": (
        {},
        [_DHT, _analog("luminosity", 35, 100), _analog("soil_moisture", 34, 100)],
        [
            {
                "name": "pump",
                "pin": 26,
                "max_run_s": 60,
                "flow_ml_per_s": 25,
                "daily_run_s": 300,
                "min_rest_s": 10,
            }
        ],
        {
            "schedules": [
                {
                    "actuator": "pump",
                    "run_s": 20,
                    "when": "soil_moisture",
                    "below": 3,
                    "every_s": 7200,
                }
            ],
            "alerts": {"soil_moisture": _BAND},
        },
    ),
    "solar": (
        {"company": "acme"},
        [
            _analog("solar_voltage", 34, 100),
            _analog("solar_current", 35, 100),
            _analog("water_level", 32, 100),
            {"type": "battery", "pin": 33, "linear": [0, 30], "divider": 10},
        ],
        [{"name": "cleaner", "pin": 26, "max_run_s": 400, "per_hour": {"energy": 250}}],
        {},
    ),
    "dese": (
        {"org": ORG},
        [
            _analog("ph", 34, 100),
            _analog("chlorine", 35, 100),
            _analog("orp", 32, 1000),
            {"type": "ds18b20", "pin": 4, "quantity": "water_temperature"},
        ],
        [{"name": "pump", "pin": 26, "max_run_s": 300, "active_low": True}],
        {"alerts": {"water_temperature": _BAND}},
    ),
    "iotnode": (
        {},
        [_DHT, _analog("soil_moisture", 34, 100), _analog("luminosity", 35, 100)],
        [{"name": "valve", "pin": 26, "max_run_s": 600, "daily_run_s": 400}],
        {
            "led": {"pin": 2},
            "schedules": [{"actuator": "valve", "run_s": 180, "at": ["06:00", "12:30", "23:58"]}],
            "alerts": {"luminosity": _BAND},
            "outbox_bytes": 32768,  # little, so that it overflows
        },
    ),
    "farm": (
        {},
        [_DHT, _analog("soil_moisture", 34, 100), _analog("npk", 35, 1000)],
        [
            {"name": "irrigation", "pin": 26, "max_run_s": 120},
            {"name": "fertilization", "pin": 27, "max_run_s": 60, "active_low": True},
        ],
        {"outbox_bytes": 16384, "alerts": {"relative_humidity": _BAND}},
    ),
}

# dialect -> quantities that tell one reading from another: (quantity, path in the payload, scale)
_MARKS = {
    "plantnanny": (
        ("air_temperature", ("temperatureC",), 10),
        ("relative_humidity", ("humidityPct",), 10),
        ("luminosity", ("luminosityPct",), 10),
    ),
    "solar": (
        ("solar_voltage", ("solar_v",), 10),
        ("solar_current", ("solar_a",), 10),
        ("water_level", ("water",), 10),
    ),
    "dese": (
        ("ph", ("sensors", "ph"), 10),
        ("chlorine", ("sensors", "chlorine"), 10),
        ("orp", ("sensors", "orp"), 1),
    ),
    "iotnode": (
        ("air_temperature", ("sensors", "temperature"), 10),
        ("relative_humidity", ("sensors", "humidity"), 10),
        ("soil_moisture", ("sensors", "soil_moisture"), 10),
    ),
    "farm": (
        ("soil_moisture", ("moisture",), 10),
        ("npk", ("npk",), 1),
        ("air_temperature", ("temp",), 10),
    ),
}
_TIMES = {"plantnanny": "ts", "dese": "timestamp", "iotnode": "timestamp", "farm": "timestamp"}
_NODE = "n1"
_TOPICS = {
    "plantnanny": ("devices/n1/data", "devices/n1/status"),
    "solar": ("company/acme/machine/n1/telemetry", "company/acme/machine/n1/status"),
    "dese": tuple(
        [
            "devices/%s/n1/%s" % (ORG, t)
            for t in ("telemetry", "status", "command_response", "alert")
        ]
    ),
    "iotnode": ("iot/node/n1/telemetry", "iot/node/n1/status"),
    "farm": ("farm/telemetry",),
}
DIALECTS = ("plantnanny", "solar", "dese", "iotnode", "farm")
FLUSH_S = 360  # the default of outbox_flush_s


class Spec:
    def __init__(self, dialect, board):
        options, sensors, actuators, more = _NODES[dialect]
        self.dialect = dialect
        self.board = board
        self.node = _NODE
        self.interval_ms = 30000
        runs = [table["run_s"] for table in more.get("schedules", ())]
        self.runs_by_itself_ms = max(runs + [0]) * 1000
        # A flush is due when the oldest has waited so long, and put off while its PUBACK is
        # awaited.
        self.cut_costs_ms = (FLUSH_S + 60) * 1000 + self.interval_ms
        self.topics = _TOPICS[dialect]
        self.watched = list(more.get("alerts", {None: 0}))[0]
        board.slow = self.watched
        self.alert_topic = self.topics[3] if dialect == "dese" else None
        self.reply_topic = self.topics[2] if dialect == "dese" else None
        self.marks = [mark[0] for mark in _MARKS[dialect]]
        self._marks = _MARKS[dialect]
        self._time = _TIMES.get(dialect)
        self.config = {
            "version": 1,
            "node": _NODE,
            "dialect": dialect,
            "options": options,
            "wifi": {"ssid": "soak", "password": "soaksoak"},
            # One of the five keeps its session at the broker, where old commands wait for it.
            "broker": {"host": "broker.local", "clean_session": dialect != "dese"},
            "interval_ms": self.interval_ms,
            "sensors": sensors,
            "actuators": actuators,
        }
        self.config.update(more)
        for sensor in sensors:
            if sensor["type"] == "analog":
                board.adcs[sensor["pin"]] = sensor["quantity"]
                board.tenths[sensor["quantity"]] = 50
            elif sensor["type"] == "battery":
                board.adcs[sensor["pin"]] = "battery_voltage"
        for name in ("air_temperature", "relative_humidity", "water_temperature"):
            board.tenths[name] = 50
        board.tenths["battery_voltage"] = 1500

    def fingerprint(self, values):
        """One int of a reading's marks: canonical values, None where there is none."""
        found = 0
        for i in range(len(values)):
            mark = 1000
            if values[i] is not None:
                mark = int(round(values[i] * self._marks[i][2]))
            found = found * 1009 + mark
        return found & 0xFFFFFFFF

    def read(self, obj):
        """The marks' values in a payload."""
        return [_follow(obj, mark[1]) for mark in self._marks]

    def time(self, obj):
        """Unix seconds of a reading's payload, None where the dialect tells none."""
        found = obj.get(self._time) if self._time else None
        return iso(found) if isinstance(found, str) else found


def _follow(obj, path):
    for name in path:
        obj = obj.get(name)
        if obj is None:
            return None
    return obj


def iso(text):
    """Unix seconds of "2026-01-31T12:00:00..."."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    # Days since 1970 of the civil calendar, years counted from March.
    y = year - (month <= 2)
    days = 365 * y + y // 4 - y // 100 + y // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468
    return ((days * 24 + int(text[11:13])) * 60 + int(text[14:16])) * 60 + int(text[17:19])
