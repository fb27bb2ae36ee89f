"""What `fieldhand init` writes: a commented fleet.toml, .env.example and .gitignore."""

from __future__ import annotations

from pathlib import Path

from fieldhand.errors import FieldhandError

FLEET_TOML = """\
# A Fieldhand fleet. 'fieldhand sim' runs it here, without any hardware; 'fieldhand watch' shows
# what its nodes say; 'fieldhand build NAME' makes all that a real board's flash holds.
# Times: "500ms", "30s", "5min", "1h".

[broker]
host = "127.0.0.1"
port = 1883
# The address by which the nodes reach the broker, if it is another one than this host's.
# node_host = "192.168.1.10"
# user = "fieldhand"
# password = "${MQTT_PASSWORD}"      # secrets stand in .env, never here
# keepalive = "60s"
# [broker.tls]                       # port 8883
# ca = "ca.pem"

[wifi]
ssid = "field"
password = "${WIFI_PASSWORD}"

[defaults]
board = "esp32-devkitc"
interval = "30s"                     # between readings
status_interval = "60s"
outbox_flush = "6min"                # what a power cut while offline may cost, at most

# A plant in a greenhouse. Try: fieldhand send greenhouse pump_water durationMs=3000
[node.greenhouse]
dialect = "plantnanny"
sensors = [
    { type = "dht22", pin = 4 },
    # ADC readings at two known points: in dry air 3200, in water 1300.
    { type = "analog", quantity = "soil_moisture", pin = 34, raw = [3200, 1300], value = [0, 100] },
    { type = "analog", quantity = "luminosity", pin = 32, raw = [0, 4095], value = [0, 100] },
]
# max_run_s is enforced by a hardware timer on the node, whatever a command says.
actuators = [{ name = "pump", pin = 26, max_run_s = 60, flow_ml_per_s = 25.0, daily_ml = 5000 }]
# Waters by itself, without a network too; or at = ["06:30", "19:00"] with utc_offset_min = 60.
schedules = [{ actuator = "pump", when = "soil_moisture", below = 20, run_s = 10, every_s = 3600 }]

# A machine that cleans solar panels. Try: fieldhand send panel-7 start_cleaning speed=5 mode=auto
[node.panel-7]
dialect = "solar"
options = { company = "acme" }
sensors = [
    { type = "battery", quantity = "battery_voltage", pin = 33, divider = 5 },
    { type = "analog", quantity = "solar_voltage", pin = 34, raw = [0, 4095], value = [0, 30] },
    { type = "analog", quantity = "solar_current", pin = 35, raw = [0, 4095], value = [0, 10] },
    { type = "analog", quantity = "water_level", pin = 32, raw = [0, 4095], value = [0, 100] },
    { type = "dht22", pin = 4 },
]
actuators = [{ name = "cleaner", pin = 26, max_run_s = 1800 }]

# A pool. Try: fieldhand send pool set_pump pump_id=1 state=on duration=10
[node.pool]
dialect = "dese"
options = { org = "org-123" }
sensors = [
    { type = "ezo", quantity = "ph" },
    { type = "ezo", quantity = "orp" },
    { type = "analog", quantity = "chlorine", pin = 34, raw = [0, 4095], value = [0, 10] },
    { type = "ds18b20", quantity = "water_temperature", pin = 13 },
    { type = "pulse", quantity = "flow_rate", pin = 27, pulses_per_litre = 450 },
    { type = "rssi" },
]
actuators = [
    { name = "circulation", pin = 26, max_run_s = 3600 },
    { name = "acid", pin = 18, max_run_s = 30, daily_run_s = 300, flow_ml_per_s = 2.0 },
    { name = "chlorine", pin = 19, max_run_s = 30, daily_run_s = 300, flow_ml_per_s = 2.0 },
]

# Small doses towards a target, each followed by a pause to mix, and only while the reading is from
# min to max. No dose before 'fieldhand send pool set_ph_target target_ph=7.4' (or target = 7.4).
[[node.pool.dosing]]
quantity = "ph"
actuator = "acid"
direction = "down"
min = 6.6
max = 8.4
dose_s = 10
mix_s = 900

[[node.pool.dosing]]
quantity = "chlorine"
actuator = "chlorine"
direction = "up"
min = 0.0
max = 4.0
dose_s = 10
mix_s = 900

[node.pool.alerts]
ph = { min = 7.0, max = 7.8, hysteresis = 0.1, hold_s = 60, severity = "warning" }

# A general sensor node with an LED. Try: fieldhand send 01 set_led state=on brightness=128
[node.01]
dialect = "iotnode"
sensors = [{ type = "dht22", pin = 4 }, { type = "rssi" }]

# A field with irrigation and fertilization. Try: fieldhand send farm_001 irrigation state=1
[node.farm_001]
dialect = "farm"
interval = "10s"
sensors = [
    { type = "analog", quantity = "soil_moisture", pin = 34, raw = [3200, 1300], value = [0, 100] },
    { type = "analog", quantity = "npk", pin = 35, raw = [0, 4095], value = [0, 1023] },
    { type = "dht11", pin = 4 },
    { type = "pulse", quantity = "wind_speed", pin = 27, per_pulse = 2.4, window = "hz" },
    { type = "ezo", quantity = "ec", only = ["ec"] },
    { type = "ezo", quantity = "ph" },
]
actuators = [
    { name = "irrigation", pin = 18, max_run_s = 1800, flow_ml_per_s = 100.0 },
    { name = "fertilization", pin = 19, max_run_s = 300 },
]
"""

ENV_EXAMPLE = """\
# Copy to .env and fill in. .env stays on this machine: it is listed in .gitignore.
WIFI_PASSWORD=
# MQTT_PASSWORD=
"""

GITIGNORE = """\
.env
build/
.fieldhand/
"""


def write(folder: Path) -> list[Path]:
    """Write the three files into `folder` (made if need be) and return their paths.

    Raises FieldhandError when fleet.toml or .env.example exists. A .gitignore that is there
    already gets the lines it lacks.
    """
    fleet, env, ignore = folder / "fleet.toml", folder / ".env.example", folder / ".gitignore"
    for path in (fleet, env):
        if path.exists():
            raise FieldhandError(f"{path} exists; it is left as it is")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fleet.write_text(FLEET_TOML, "utf-8")
        env.write_text(ENV_EXAMPLE, "utf-8")
        old = ignore.read_text("utf-8") if ignore.exists() else ""
        lacking = [line for line in GITIGNORE.splitlines() if line not in old.splitlines()]
        if lacking:
            start = old if not old or old.endswith("\n") else old + "\n"
            ignore.write_text(start + "\n".join(lacking) + "\n", "utf-8")
    except OSError as error:
        where = error.filename or folder
        raise FieldhandError(f"{where}: {error.strerror or error}") from error
    return [fleet, env, ignore]
