"""Solar cleaning machines: battery, panels, water and a cleaning drive, per company.

Source: "MQTT Architecture & Topic Documentation" of the Solar Cleaning Machines. The document has
no answer to a command: the status shows it, and with extras on the extension key names it.
"""

from ..messages import Command, Message
from ..schema import Field as F

OPTIONS = (F("company", "string", required=True, doc="the tenant, {company_id}"),)

_MACHINE = "company/{company}/machine/{node}/"

MESSAGES = (
    Message(
        "telemetry",
        (_MACHINE + "telemetry",),
        "reading",
        "node",
        (
            F("battery", "number", means="battery_voltage", unit="V"),
            F("solar_v", "number", means="solar_voltage", unit="V"),
            F("solar_a", "number", means="solar_current", unit="A"),
            F("water", "number", means="water_level", unit="%", digits=1),
            F("extra", "object"),
            F("extra.temp", "number", means="air_temperature", unit="°C"),
            F("extra.vibration", "number", means="vibration", unit="g", digits=3),
            F("extra.*", "number", digits=3),
        ),
    ),
    Message(
        "status",
        (_MACHINE + "status",),
        "status",
        "node",
        (
            F(
                "status",
                "string",
                means="activity",
                required=True,
                values={"Running": "running", "Idle": "idle", "offline": "offline"},
                open=True,
                doc="offline is the Last Will",
            ),
            F("energy", "number", means="energy", unit="Wh"),
            F("water", "number", means="water_used", unit="L"),
            F("area", "number", means="area", unit="m²"),
        ),
        retain=True,
    ),
    Message(
        "command",
        (_MACHINE + "command",),
        "command",
        "host",
        (
            F("command", "string", means="command", required=True),
            F("params", "object", means="params"),
        ),
        params="params",
    ),
)

COMMANDS = (
    Command(
        "start_cleaning",
        "actuate",
        (
            F("speed", "int", means="speed", lo=0, hi=100),
            F("mode", "string", means="mode", lo=1, hi=32),
        ),
        fixed={"actuator": "cleaner", "state": 1},
        settled_by=("status", "activity", "running"),
    ),
    Command(
        "stop_cleaning",
        "actuate",
        fixed={"actuator": "cleaner", "state": 0},
        settled_by=("status", "activity", "idle"),
    ),
)
