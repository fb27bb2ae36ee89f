"""The iot/node fleet: general sensor nodes with an LED, beside a Raspberry Pi broker.

Source: "System Architecture" of the iot/node fleet. It shows telemetry and command; of the status
it says "uptime, WiFi RSSI, etc." and that it acknowledges commands, so those fields are ours. The
node's id is "01" in the topic and "node_01" in the payload. The host publishes iot/broker/*.
"""

from ..messages import Command, Message
from ..schema import Field as F

OPTIONS = ()

_TIME = F("timestamp", "epoch", means="time", lo=0, hi=4102444800, unit="s")
_UPTIME = F("uptime", "int", means="uptime", lo=0, unit="s")
_RSSI = F("wifi_rssi", "int", means="signal_strength", unit="dBm")

MESSAGES = (
    Message(
        "telemetry",
        ("iot/node/{node}/telemetry",),
        "reading",
        "node",
        (
            F("node_id", "string", means="node", required=True, prefix="node_"),
            _TIME,
            F("sensors", "object", required=True),
            F("sensors.temperature", "number", means="air_temperature", unit="°C", digits=1),
            F("sensors.humidity", "number", means="relative_humidity", unit="%", digits=1),
            F("sensors.*", "number", digits=3),
            _RSSI,
            _UPTIME,
        ),
    ),
    Message(
        "status",
        ("iot/node/{node}/status",),
        "status",
        "node",
        (
            F("node_id", "string", means="node", prefix="node_"),
            _TIME,
            F("status", "string", means="state", doc="online, or offline by the Last Will"),
            _UPTIME,
            _RSSI,
            F("free_memory", "int", means="free_memory", lo=0, unit="B"),
            F("reset_cause", "string", means="reset_cause"),
            F("led", "string", means="led", values={"on": 1, "off": 0}),
            F("brightness", "int", means="brightness", lo=0, hi=255),
            F("ack", "string", means="ack.command", doc="the command this status answers"),
            F("result", "string", means="ack.state", values=("done", "failed")),
            F("error", "string", means="ack.error"),
            F("*", "any"),
        ),
        retain=True,
    ),
    Message(
        "command",
        ("iot/node/{node}/command",),
        "command",
        "host",
        (
            F("command", "string", means="command", required=True),
            F("params", "object", means="params"),
        ),
        params="params",
    ),
    Message(
        "broker_status",
        ("iot/broker/status",),
        "broker",
        "host",
        (
            F("status", "string", means="state", required=True, values=("online", "offline")),
            _TIME,
            _UPTIME,
            F("version", "string", means="version"),
        ),
        retain=True,
    ),
    Message(
        "broker_stats",
        ("iot/broker/stats",),
        "broker",
        "host",
        (
            _TIME,
            F("connections", "int", means="connections", lo=0),
            F("messages_received", "int", means="messages_received", lo=0),
            F("messages_sent", "int", means="messages_sent", lo=0),
            F("messages_per_second", "number", means="messages_per_second", lo=0),
        ),
    ),
)

COMMANDS = (
    Command(
        "set_led",
        "set_led",
        (
            F("state", "string", means="state", required=True, values={"on": 1, "off": 0}),
            F("brightness", "int", means="brightness", lo=0, hi=255),
        ),
        settled_by=("status", "led", "state"),
    ),
)
