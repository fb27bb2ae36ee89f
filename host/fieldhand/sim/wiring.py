"""What hangs on which pin and address of a node, by default what its node.json says."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fieldproto import sensortypes

from .devices import Bme280, Clock, Dht, Ds18b20, Ezo, I2cDevice, Measure, OneWireBus

ADC_FULL = 4095


@dataclass
class AnalogInput:
    """A voltage: ADC counts at 11 dB are `raw[0]` at `value[0]`, `raw[1]` at `value[1]`."""

    quantity: str
    raw: tuple[float, float]
    value: tuple[float, float]
    failed: str | None = None

    def counts(self, quantity: float) -> int:
        if self.failed:
            return 0  # the wire is off
        (r0, r1), (v0, v1) = self.raw, self.value
        return min(max(round(r0 + (quantity - v0) * (r1 - r0) / (v1 - v0)), 0), ADC_FULL)


@dataclass
class PulseInput:
    """A reed contact or Hall sensor: `per_unit` pulses per second at 1 unit of `quantity`.

    A flow meter on the line of outputs has their pins in `line` and sees the flow of these.
    """

    quantity: str
    per_unit: float
    failed: str | None = None
    owed: float = 0.0  # of a pulse
    line: tuple[int, ...] = ()


@dataclass
class Output:
    """A relay or the like; `active_low` modules hold their input high while nobody drives it.

    `failed` is the fault: "stuck" (the contact is welded: always on) or "dead" (never on).
    """

    name: str
    effect: str
    rate: float
    active_low: bool = False
    failed: str | None = None


@dataclass
class Wiring:
    """Everything connected to one board; make one to wire a node otherwise than its node.json.

    Keys are GPIO numbers but for `i2c`, whose keys are addresses.
    """

    analog: dict[int, AnalogInput] = field(default_factory=dict)
    pulses: dict[int, PulseInput] = field(default_factory=dict)
    dht: dict[int, Dht] = field(default_factory=dict)
    onewire: dict[int, OneWireBus] = field(default_factory=dict)
    i2c: dict[int, I2cDevice] = field(default_factory=dict)
    outputs: dict[int, Output] = field(default_factory=dict)
    i2c_pins: tuple[int, int] | None = None  # scl, sda

    def power_on(self) -> None:
        """What a power cut does to the devices."""
        for bus in self.onewire.values():
            for thermometer in bus.devices:
                thermometer.power_on()
        for device in self.i2c.values():
            if isinstance(device, Ezo | Bme280):
                device.power_on()

    def all(self) -> list[Any]:
        """Every sensor that can fail."""
        buses = [device for bus in self.onewire.values() for device in bus.devices]
        return [
            *self.analog.values(),
            *self.pulses.values(),
            *self.dht.values(),
            *buses,
            *self.i2c.values(),
        ]

    def find(self, key: str | int) -> list[Any]:
        """The sensors meant by `key`: a pin, an I2C address, a kind ("dht") or a quantity."""
        found: list[Any] = []
        for pin, analog in self.analog.items():
            if key in (pin, "analog", analog.quantity):
                found.append(analog)
        for pin, pulse in self.pulses.items():
            if key in (pin, "pulse", pulse.quantity):
                found.append(pulse)
        for pin, dht in self.dht.items():
            if key in (pin, "dht", f"dht{dht.kind}", "air_temperature", "relative_humidity"):
                found.append(dht)
        for pin, bus in self.onewire.items():
            for device in bus.devices:
                if key in (pin, "ds18b20", "onewire", device.quantity, device.rom.hex()):
                    found.append(device)
        for address, chip in self.i2c.items():
            names: tuple[str | int, ...] = (address, "i2c", type(chip).__name__.lower())
            if isinstance(chip, Ezo):
                names = (*names, chip.quantity)
            if key in names:
                found.append(chip)
        return found


def effect_of(name: str, dialect: str) -> str:
    """What the actuator called `name` does to the world; "none" for lights and the like."""
    words = name.lower().replace("-", "_")
    pool = dialect == "dese"
    for parts, effect in (
        (("fertil",), "fertilizer"),
        (("clean", "brush"), "cleaner"),
        (("chlor",), "chlorine"),
        (("ph_up", "base", "alkali"), "ph_up"),
        (("ph", "acid"), "ph_down"),
        (("filter", "filtration", "circul"), "circulation"),
        (("pump", "water", "irrig", "valve"), "circulation" if pool else "water"),
    ):
        if any(part in words for part in parts):
            return effect
    return "none"


def derive(config: Mapping[str, Any], measure: Measure, clock: Clock, outputs: int = 34) -> Wiring:
    """The wiring a node.json describes: every sensor and actuator where it says.

    `measure(quantity)` is what the surroundings are, `clock()` seconds. A sensor with a
    `rom` is on a thermometer of that number. Entries that make no sense are left out, and
    actuators on GPIO `outputs` or above: it is the firmware that refuses them.
    """
    wiring = Wiring()
    i2c = config.get("i2c")
    if isinstance(i2c, Mapping):
        wiring.i2c_pins = (i2c.get("scl", -1), i2c.get("sda", -1))
    for number, sensor in enumerate(_entries(config, "sensors")):
        try:
            _add_sensor(wiring, sensor, f"{config.get('node')}/{number}", measure, clock)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
    for actuator in _entries(config, "actuators"):
        name, pin = actuator.get("name"), actuator.get("pin")
        if not isinstance(name, str) or not isinstance(pin, int) or not 0 <= pin < outputs:
            continue
        effect = effect_of(name, str(config.get("dialect", "")))
        rate = actuator.get("flow_ml_per_s")
        if not isinstance(rate, int | float):
            rate = 0.5 if effect == "cleaner" else 25.0
        wiring.outputs[pin] = Output(name, effect, rate, bool(actuator.get("active_low")))
        meter = actuator.get("flow_meter")
        if isinstance(meter, int) and meter in wiring.pulses:
            wiring.pulses[meter].line += (pin,)
    return wiring


def _entries(config: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = config.get(key)
    return [e for e in found if isinstance(e, Mapping)] if isinstance(found, list) else []


def _add_sensor(
    wiring: Wiring, sensor: Mapping[str, Any], name: str, measure: Measure, clock: Clock
) -> None:
    kind = sensor["type"]
    pin = sensor.get("pin", -1)
    if kind in ("dht11", "dht22"):
        wiring.dht[pin] = Dht(int(kind[3:]), measure, clock)
    elif kind == "analog":
        (r0, r1), (v0, v1) = sensor["raw"], sensor["value"]
        if v0 == v1:
            raise ValueError("one point")
        wiring.analog[pin] = AnalogInput(sensor["quantity"], (r0, r1), (v0, v1))
    elif kind == "battery":
        full = sensor.get("full_scale", 3.3) * sensor.get("divider", 2)
        # A pack of several cells has as many times the world's voltage.
        cells = sensor.get("cells", 1)
        wiring.analog[pin] = AnalogInput("battery_voltage", (0, ADC_FULL), (0, full / cells))
    elif kind == "pulse":
        wiring.pulses[pin] = PulseInput(sensor["quantity"], _per_unit(sensor))
    elif kind == "ds18b20":
        device = Ds18b20(zlib.crc32(name.encode()), sensor["quantity"], measure, clock)
        if "rom" in sensor:
            device.rom = bytes.fromhex(sensor["rom"])
        wiring.onewire.setdefault(pin, OneWireBus()).devices.append(device)
    elif kind in ("ezo", "bme280"):
        address = sensortypes.address(dict(sensor))
        if address is not None:
            wiring.i2c[address] = (
                Bme280(measure, clock)
                if kind == "bme280"
                else Ezo(sensor["quantity"], measure, clock)
            )


def _per_unit(sensor: Mapping[str, Any]) -> float:
    """Pulses per second at one unit of the quantity."""
    per_litre = sensor.get("pulses_per_litre")
    if per_litre:
        return float(per_litre) / 60  # the unit is L/min
    per_second = 1.0 if sensor.get("window", "hz") == "hz" else 60.0
    return 1.0 / float(sensor["per_pulse"]) / per_second
