"""The sensors on their buses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fieldhand.doctor.findings import Finding, fail, ok, skipped, warn
from fieldproto.quantities import UNITS

# A bus whose SDA is low answers to every address.
_SHORTED = 100
# I2C addresses of chips the drivers know: data sheets of Bosch and Atlas Scientific.
_KNOWN = {0x76: "BME280", 0x77: "BME280", 98: "EZO-ORP", 99: "EZO-pH", 100: "EZO-EC"}
# First reading of a DS18B20 that lost its power in the middle: its data sheet, "Operation".
_DS18B20_RESET = 85.0

_ADVICE = {
    "dht11": "Check its three wires and the 10 kOhm from data to 3.3 V; read it every 2 s at most",
    "dht22": "Check its three wires and the 10 kOhm from data to 3.3 V; read it every 2 s at most",
    "ds18b20": "Check its three wires and the 4.7 kOhm from data to 3.3 V",
    "bme280": "Check SDA, SCL, 3.3 V and GND, and its address (SDO low: 118, high: 119)",
    "ezo": "Check SDA, SCL and power; its light is green in UART mode: switch it to I2C",
    "analog": "Is the probe connected, and `raw` measured with it in both points?",
    "battery": "Is the battery connected, and is `divider` that of the resistors?",
    "pulse": "Check its wire and pull-up",
    "rssi": "There is no Wi-Fi to measure",
}


def judge(result: Mapping[str, Any]) -> Iterator[Finding]:
    if "error" in result:
        yield fail("sensors", str(result["error"]), "Correct [[node.X.sensors]] in fleet.toml")
        return
    rows: Sequence[Mapping[str, Any]] = result.get("read", [])
    for row in rows:
        yield _sensor(row)
    if not rows:
        yield skipped("sensors", "none are configured")
    addresses = {_address(row) for row in rows} - {None}
    if "i2c" in result:
        yield _i2c(result["i2c"], addresses)
    for wire in result.get("wires", ()):
        roms = [str(row["rom"]).lower() for row in rows if row.get("rom")]
        yield _wire(wire, roms, sum(row["type"] == "ds18b20" for row in rows))


def _sensor(row: Mapping[str, Any]) -> Finding:
    name, kind = str(row["name"]), str(row["type"])
    at = f" on GPIO{row['pin']}" if "pin" in row and "@" not in name else ""
    check = f"sensor {name}{at}"
    if "fault" in row:
        return fail(check, str(row["fault"]), _ADVICE.get(kind, "Check its wires"))
    values: dict[str, float] = dict(row.get("values", ()))
    text = ", ".join(f"{quantity} {_value(quantity, value)}" for quantity, value in values.items())
    strange = _strange(kind, values)
    data = {"values": values, "ms": row.get("ms")}
    if strange:
        return warn(check, f"{text}: {strange}", _ADVICE.get(kind, "Check its wires"), **data)
    return ok(check, text, **data)


def _strange(kind: str, values: Mapping[str, float]) -> str:
    """What is implausible in values that the driver let pass: it knows its device's limits."""
    for quantity, value in values.items():
        if kind == "ds18b20" and value == _DS18B20_RESET:
            return "what a DS18B20 says when its power fails in the middle"
        if quantity == "relative_humidity" and not 1 < value < 100:
            return "the end of the range: wet or broken"
        if kind == "analog" and UNITS.get(quantity) == "%" and value in (0, 100):
            return "the end of what it is calibrated for"
    return ""


def _value(quantity: str, value: float) -> str:
    return f"{value:.4g} {UNITS.get(quantity, '')}".rstrip()


def _address(row: Mapping[str, Any]) -> int | None:
    from fieldproto.sensortypes import address

    if row["type"] not in ("ezo", "bme280"):
        return None
    return address(dict(row))


def _i2c(bus: Mapping[str, Any], wanted: set[int | None]) -> Finding:
    scl, sda = bus["pins"]
    where = f"SCL GPIO{scl}, SDA GPIO{sda}"
    wires = "SDA or SCL is held low: check for swapped wires, and 4.7 kOhm from each to 3.3 V"
    if "fault" in bus:
        # Nothing hangs on it: then nothing is wrong with it.
        return (fail if wanted else warn)("I2C", f"{where}: {bus['fault']}", wires)
    found = list(bus.get("found", ()))
    data = {"found": found}
    if len(found) >= _SHORTED:
        return fail("I2C", f"{where}: every address answers", wires, **data)
    missing = sorted(address for address in wanted if address and address not in found)
    extra = [address for address in found if address not in wanted]
    if missing:
        text = f"{where}: nothing at {_named(missing)}; there is {_named(found)}"
        advice = "Is it plugged in and powered, and is SDA on SDA? Another address: set `address`"
        return fail("I2C", text, advice, **data)
    if extra:
        text = f"{where}: not configured: {_named(extra)}"
        return warn("I2C", text, "Add it to the node's sensors, or ignore it", **data)
    return ok("I2C", f"{where}: {_named(found)}", **data)


def _named(addresses: Sequence[int]) -> str:
    names = (f"{at} (0x{at:02x}, {_KNOWN.get(at, 'unknown')})" for at in addresses)
    return ", ".join(names) or "nothing"


def _wire(wire: Mapping[str, Any], roms: Sequence[str], count: int) -> Finding:
    pin, found = wire["pin"], [str(rom).lower() for rom in wire["found"]]
    data = {"found": found}
    if not found:
        why = f" ({wire['fault']})" if wire.get("fault") else ""
        text = f"GPIO{pin}: nobody answers{why}"
        return fail("1-Wire", text, _ADVICE["ds18b20"], **data)
    absent = [rom for rom in roms if rom not in found]
    if absent:
        text = f"GPIO{pin}: not there: {', '.join(absent)}; there is {', '.join(found)}"
        return fail("1-Wire", text, "Set `rom` to one that is there, or check its wires", **data)
    extra = [rom for rom in found if rom not in roms] if roms else found[count:]
    if extra:
        text = f"GPIO{pin}: not configured: {', '.join(extra)}"
        advice = "Give each sensor its `rom`, or take the other one off"
        return warn("1-Wire", text, advice, **data)
    return ok("1-Wire", f"GPIO{pin}: {', '.join(found)}", **data)
