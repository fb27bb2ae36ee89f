"""PlantNanny: house plants, sensors and a water pump.

Source: "PlantNanny MQTT Architecture". Topics devices/<id>/...; the legacy plantnanny/<id>/...
topics when `use_new_topics` is false. The document has no answer to a command: with extras on it
travels in the extension key of the status.
"""

from ..messages import Command, Message
from ..schema import Field as F

OPTIONS = (F("use_new_topics", "bool", default=True, doc="false: the legacy plantnanny/ topics"),)
VARIANT = "use_new_topics"

MESSAGES = (
    Message(
        "data",
        ("devices/{node}/data", "plantnanny/{node}/sensors"),
        "reading",
        "node",
        (
            F("temperatureC", "number", means="air_temperature", unit="°C", digits=1),
            F("humidityPct", "number", means="relative_humidity", unit="%", lo=0, hi=100, digits=1),
            F("luminosityPct", "number", means="luminosity", unit="%", lo=0, hi=100, digits=1),
            F(
                "ts",
                "epoch",
                means="time",
                lo=0,
                hi=4102444800,
                unit="s",
                doc="Unix time of the reading",
            ),
            F("uptime", "int", means="uptime", lo=0, unit="s"),
        ),
    ),
    Message(
        "status",
        ("devices/{node}/status", "plantnanny/{node}/status"),
        "status",
        "node",
        (F("status", "string", means="state", required=True, values=("online", "offline")),),
        retain=True,
    ),
    Message(
        "command",
        ("devices/{node}/command",),
        "command",
        "host",
        (F("action", "string", means="command", required=True),),
    ),
)

COMMANDS = (
    Command("send_now", "sample", settled_by=("data",), doc="Force immediate sensor reading"),
    Command(
        "pump_water",
        "actuate",
        (
            F("durationMs", "int", means="duration_ms", unit="ms", lo=1, hi=86400000),
            F("amountMl", "number", means="amount_ml", unit="ml", lo=0.1, hi=1000000),
        ),
        fixed={"actuator": "pump", "state": 1},
        at_end=True,
        doc="Activate water pump",
    ),
    Command(
        "set_interval",
        "set_interval",
        (
            F(
                "intervalMs",
                "int",
                means="interval_ms",
                required=True,
                unit="ms",
                lo=1000,
                hi=86400000,
            ),
        ),
        doc="Change publish interval",
    ),
    Command("restart", "restart", doc="Restart device"),
    Command(
        "ota_update",
        "ota",
        (F("url", "string", means="url", required=True, lo=8),),
        doc="Trigger OTA update",
    ),
)
