"""DESE pools: water chemistry, dosing and circulation pumps, per organisation.

Source: "DESE IoT MQTT Protocol Documentation" 1.0.0; the field tables are the document's.
"""

from ..messages import Command, Message
from ..schema import Field as F

OPTIONS = (F("org", "string", required=True, doc="organisation UUID, the tenant"),)

_DEVICE = "devices/{org}/{node}/"
_TIME = F("timestamp", "time", means="time", required=True, doc="ISO 8601 UTC")
_DEVICE_ID = F("device_id", "string", means="node", required=True)

MESSAGES = (
    Message(
        "telemetry",
        (_DEVICE + "telemetry",),
        "reading",
        "node",
        (
            _DEVICE_ID,
            _TIME,
            F("organization_id", "string", means="org", required=True),
            F("sensors", "object", required=True),
            F("sensors.ph", "number", means="ph", required=True, lo=0, hi=14),
            F("sensors.chlorine", "number", means="chlorine", required=True, unit="ppm", lo=0),
            F("sensors.temperature", "number", means="water_temperature", required=True, unit="°C"),
            F("sensors.orp", "int", means="orp", unit="mV"),
            F("sensors.tds", "int", means="tds", unit="ppm", lo=0),
            F("sensors.flow_rate", "number", means="flow_rate", unit="L/min", lo=0),
            F("metadata", "object", required=True),
            F("metadata.battery", "int", means="battery_level", unit="%", lo=0, hi=100),
            F("metadata.signal_strength", "int", means="signal_strength", unit="dBm"),
            F("metadata.firmware_version", "string", means="firmware", required=True),
        ),
        max_bytes=1024,
    ),
    Message(
        "status",
        (_DEVICE + "status",),
        "status",
        "node",
        (
            F(
                "status",
                "string",
                means="state",
                required=True,
                values=("online", "offline", "error", "maintenance"),
            ),
            F("battery", "int", means="battery_level", unit="%", lo=0, hi=100),
            F("signal_strength", "int", means="signal_strength", unit="dBm"),
            F("firmware_version", "string", means="firmware", required=True),
            _TIME,
        ),
        retain=True,
    ),
    Message(
        "command_response",
        (_DEVICE + "command_response",),
        "reply",
        "node",
        (
            F("command_id", "string", means="id", required=True),
            F(
                "success",
                "bool",
                means="state",
                required=True,
                values={True: "done", False: "failed"},
            ),
            F("response", "object", means="data"),
            F("error", "string", means="error"),
            _TIME,
        ),
    ),
    Message(
        "alert",
        (_DEVICE + "alert",),
        "alert",
        "node",
        (
            F(
                "severity",
                "string",
                means="severity",
                required=True,
                values=("info", "warning", "critical"),
            ),
            F("message", "string", means="message", required=True),
            F("sensor", "string", means="sensor"),
            F("value", "number", means="value"),
            F("threshold", "number", means="threshold"),
            _TIME,
        ),
    ),
    Message(
        "commands",
        (_DEVICE + "commands",),
        "command",
        "host",
        (
            F("command_id", "string", means="id", required=True, lo=1, hi=64),
            _DEVICE_ID,
            F("command", "string", means="command", required=True),
            F("parameters", "object", means="params"),
            _TIME,
        ),
        params="parameters",
    ),
    Message(
        "config",
        (_DEVICE + "config",),
        "config",
        "host",
        (
            _DEVICE_ID,
            F("config", "object", required=True),
            F("config.telemetry_interval", "int", means="interval_ms", unit="ms", lo=1000),
            F("config.mqtt_keepalive", "int", means="keepalive_s", unit="s", lo=5, hi=65535),
            F("config.sensor_calibration", "object", means="calibration"),
            F("config.sensor_calibration.*", "object"),
            F("config.sensor_calibration.*.offset", "number"),
            F("config.sensor_calibration.*.scale", "number"),
            F("config.alert_thresholds", "object", means="alerts"),
            F("config.alert_thresholds.*", "object"),
            F("config.alert_thresholds.*.min", "number"),
            F("config.alert_thresholds.*.max", "number"),
            _TIME,
        ),
    ),
)

COMMANDS = (
    Command(
        "set_pump",
        "actuate",
        (
            F("pump_id", "int", means="actuator", required=True, lo=1, hi=255),
            F("state", "string", means="state", required=True, values={"on": 1, "off": 0}),
            F("duration", "int", means="duration_ms", unit="s", lo=1, hi=86400, scale=1000),
        ),
        reply=(
            F("pump_state", "string", means="state", values={"on": 1, "off": 0}),
            F("pump_duration", "int", means="duration_ms", unit="s", scale=1000),
        ),
        doc="Control pump state",
    ),
    Command(
        "set_ph_target",
        "set_target",
        (F("target_ph", "number", means="value", required=True, lo=0, hi=14),),
        fixed={"quantity": "ph"},
        reply=(F("target_ph", "number", means="value"),),
        doc="Set pH target level",
    ),
    Command(
        "set_chlorine_target",
        "set_target",
        (F("target_chlorine", "number", means="value", required=True, unit="ppm", lo=0, hi=20),),
        fixed={"quantity": "chlorine"},
        reply=(F("target_chlorine", "number", means="value", unit="ppm"),),
        doc="Set chlorine target",
    ),
    Command("reboot", "restart", doc="Reboot device"),
    Command("reset_config", "reset_config", doc="Reset to default config"),
    Command(
        "calibrate_sensor",
        "calibrate",
        (
            F("sensor_type", "string", means="sensor", required=True, lo=1, hi=32),
            F("value", "number", means="value", required=True),
        ),
        reply=(F("offset", "number", means="offset", digits=3),),
        doc="Calibrate sensor",
    ),
)
