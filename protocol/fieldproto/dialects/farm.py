"""Smart Farming: soil, weather, irrigation and fertilization.

Source: "MQTT IoT System - Comprehensive Technical Analysis"; ranges are its Pydantic model's. All
farms share one telemetry topic; there is no status topic, no retained message and no Last Will.
The acknowledgement of a command is a STATUS message on the telemetry topic.
"""

from ..messages import Command, Message
from ..schema import Field as F

OPTIONS = ()

_FARM = F("farm_id", "string", means="node", required=True)
_TIME = F("timestamp", "time", means="time")
_SWITCH = {"ON": 1, "OFF": 0}


def _actuate(device):
    return Command(
        device,
        "actuate",
        (F("state", "int", means="state", required=True, values={1: 1, 0: 0}),),
        fixed={"actuator": device},
        settled_by=("STATUS", device, "state"),
    )


MESSAGES = (
    Message(
        "STATUS",
        ("farm/telemetry",),
        "reply",
        "node",
        (
            F("type", "string", required=True, const="STATUS"),
            F("irrigation", "string", means="irrigation", values=_SWITCH),
            F("fertilization", "string", means="fertilization", values=_SWITCH),
            _FARM,
            _TIME,
        ),
        when=("type", "STATUS"),
    ),
    Message(
        "telemetry",
        ("farm/telemetry",),
        "reading",
        "node",
        (
            _FARM,
            _TIME,
            F(
                "moisture",
                "number",
                means="soil_moisture",
                required=True,
                unit="%",
                lo=0,
                hi=100,
                digits=1,
            ),
            F("temp", "number", means="air_temperature", required=True, unit="°C", digits=1),
            F(
                "humidity",
                "number",
                means="relative_humidity",
                required=True,
                unit="%",
                lo=0,
                hi=100,
                digits=1,
            ),
            F("npk", "number", means="npk", required=True, lo=0, hi=1023, digits=0),
            F("ec_salinity", "number", means="ec", unit="dS/m", lo=0, hi=20),
            F("wind_speed", "number", means="wind_speed", unit="km/h", lo=0, hi=150, digits=1),
            F("soil_ph", "number", means="ph", lo=0, hi=14, digits=1),
        ),
    ),
    Message(
        "commands",
        ("farm/{node}/commands",),
        "command",
        "host",
        (
            F("type", "string", required=True, const="ACTUATE"),
            F("device", "string", means="command", required=True),
            _TIME,
        ),
    ),
)

COMMANDS = (_actuate("irrigation"), _actuate("fertilization"))
