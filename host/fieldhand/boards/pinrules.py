"""Which pin of a board is fit for what: why one is not, and which to use instead.

The facts are the board file's (`boards.Board`), the rules are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fieldhand.boards.board import Board
from fieldproto import sensortypes
from fieldproto.sensortable import TYPES

# "bus": a line both ends drive, as DHT, 1-Wire and I2C have.
Kind = Literal["relay", "led", "bus", "input", "analog"]

_KINDS: dict[str, Kind] = {"pin": "bus", "in_pin": "input", "adc_pin": "analog"}
_DRIVEN: dict[Kind, str] = {
    "relay": "it cannot switch a relay",
    "led": "it cannot light an LED",
    "bus": "it cannot ask a sensor for its reading",
}
_PURPOSE = {
    "dht11": "dht",
    "dht22": "dht",
    "ds18b20": "onewire",
    "pulse": "pulse",
    "battery": "battery",
}


@dataclass(frozen=True)
class Use:
    """One pin of a node and what is on it.

    `where` is the place in the node's table, "sensors[0]"; `what` names it for people; `purpose`
    is the key of the board's defaults that serves it.
    """

    where: str
    what: str
    kind: Kind
    pin: int
    purpose: str


@dataclass(frozen=True)
class Problem:
    """What is wrong with `key` of a node's table, why, and what to do instead."""

    key: str
    text: str


def default(board: Board, kind: str, quantity: str | None = None) -> int | None:
    """The board's pin for a sensor of type `kind` that names none, None without one."""
    if kind == "analog":
        found = board.defaults["analog"].get(quantity)
    else:
        found = board.defaults.get(_PURPOSE.get(kind, ""))
    return found if isinstance(found, int) else None


def uses(
    board: Board,
    sensors: Iterable[Mapping[str, Any]],
    actuators: Iterable[Mapping[str, Any]],
    led: Mapping[str, Any] | None,
) -> list[Use]:
    """The pins of a node, those first that it has least choice about. Skips what is not checked."""
    found = []
    sensors = list(sensors)
    devices = ", ".join(_named(sensor) for sensor in sensors if _on_i2c(sensor))
    if devices:
        for key, pin in board.defaults["i2c"].items():
            found.append(Use("i2c", f"I2C {key.upper()}: {devices}", "bus", pin, "i2c"))
    if led is not None and _is_pin(led.get("pin")):
        found.append(Use("led", "LED", "led", led["pin"], "led"))
    for i, actuator in enumerate(actuators):
        if _is_pin(actuator.get("pin")):
            name = str(actuator.get("name", "actuator"))
            found.append(Use(f"actuators[{i}]", name, "relay", actuator["pin"], "relay"))
    for i, sensor in enumerate(sensors):
        kind = str(sensor.get("type"))
        keys = TYPES[kind]["keys"] if kind in TYPES else {}
        if "pin" not in keys or not _is_pin(sensor.get("pin")):
            continue
        quantity = sensor.get("quantity")
        purpose = f"analog.{quantity}" if kind == "analog" else _PURPOSE.get(kind, "")
        role = _KINDS[keys["pin"][0]]
        found.append(Use(f"sensors[{i}]", _named(sensor), role, sensor["pin"], purpose))
    return found


def _named(sensor: Mapping[str, Any]) -> str:
    """ "analog soil_moisture", "dht22"."""
    quantity = sensor.get("quantity")
    return f"{sensor['type']} {quantity}" if isinstance(quantity, str) else str(sensor["type"])


def _is_pin(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _on_i2c(sensor: Mapping[str, Any]) -> bool:
    try:
        return sensortypes.address(dict(sensor)) is not None
    except (KeyError, TypeError):
        return False  # refused elsewhere


def check(board: Board, found: Sequence[Use]) -> list[Problem]:
    """Every pin that is unfit for its use or taken twice, in the order of `found`."""
    problems = []
    taken = {use.pin for use in found}
    first: dict[int, Use] = {}
    for use in found:
        other = first.setdefault(use.pin, use)
        reason = unfit(board, use.kind, use.pin)
        if reason is None and other is not use and not _share(use, other):
            free = "; led = false frees it" if other.where == "led" else ""
            reason = f"GPIO{use.pin} is already used by {other.where} ({other.what}){free}"
        if reason is None:
            continue
        instead = alternative(board, use, taken)
        if instead is None:
            advice = f"no other pin of {board.name} that is fit for it is free"
        else:
            taken.add(instead)
            advice = f"use GPIO{instead}{_printed(board, instead)} instead"
        problems.append(Problem(f"{use.where} pin", f"{reason}; {advice}"))
    return problems


def check_count(board: Board, actuators: int) -> list[Problem]:
    """More actuators than hardware timers: each run holds the one that will end it."""
    if actuators <= board.timers:
        return []
    chip = "the simulated chip" if board.simulated else f"the {board.chip}"
    return [
        Problem(
            "actuators",
            f"{actuators} are too many for {board.name}: a hardware timer ends each run, and "
            f"{chip} has {board.timers}; share them out between two nodes",
        )
    ]


def _share(use: Use, other: Use) -> bool:
    """1-Wire sensors hang on one line; whether each names its ROM is checked elsewhere."""
    return use.purpose == other.purpose == "onewire"


def unfit(board: Board, kind: Kind, pin: int) -> str | None:
    """Why a GPIO of the board must not be used as `kind`, None if it may."""
    name = f"GPIO{pin} of {board.name}"
    if pin in board.flash:
        return f"GPIO{pin} drives the flash chip of {board.name}, from which the program runs"
    if pin not in board.usable:
        return f"{board.name} has no GPIO{pin} on its headers"
    if pin in board.console:
        return f"{name} is the serial console, by which it is flashed and watched"
    if pin in board.usb:
        return f"{name} is a data line of the chip's USB port"
    if pin in board.input_only and kind in _DRIVEN:
        return f"{name} is input only: {_DRIVEN[kind]}"
    if kind == "analog" and pin in board.adc2:
        return f"{name} is on ADC2, which does not work while Wi-Fi is on"
    if kind == "analog" and pin not in board.adc1:
        return f"{name} has no ADC"
    if kind == "relay" and pin in board.strapping:
        return (
            f"{name} is a strapping pin, sampled at reset: a relay on it can keep the chip from "
            "starting, or click when it does"
        )
    return None


def alternative(board: Board, use: Use, taken: Iterable[int]) -> int | None:
    """The best pin for `use` that is not `taken`: the board's own choice, else a plain one."""
    others = set(_default_pins(board))
    own = _own_default(board, use)
    fit = [
        pin
        for pin in board.usable - set(taken)
        if unfit(board, use.kind, pin) is None and (pin == own or pin not in board.strapping)
    ]

    def rank(pin: int) -> tuple[int, ...]:
        return (
            pin != own,
            pin in others,
            use.kind != "analog" and pin in board.adc1,
            pin in board.input_only and use.kind != "analog",
            pin in board.notes,
            pin,
        )

    return min(fit, key=rank, default=None)


def _own_default(board: Board, use: Use) -> int | None:
    key, _, quantity = use.purpose.partition(".")
    found = board.defaults.get(key)
    if key == "analog":
        found = board.defaults["analog"].get(quantity)
    return found if isinstance(found, int) else None


def _default_pins(board: Board) -> Iterable[int]:
    for value in board.defaults.values():
        if isinstance(value, Mapping):
            yield from value.values()
        elif _is_pin(value):
            yield value


def _printed(board: Board, pin: int) -> str:
    """ " (VP)" where the header says something else than the number."""
    label = board.label(pin)
    return "" if label in (f"IO{pin}", f"GPIO{pin}", str(pin)) else f" ({label})"


def warnings(board: Board, found: Iterable[Use]) -> list[Problem]:
    """What is allowed but wants care: strapping pins, inputs without a pull-up."""
    problems = []
    for use in found:
        if use.kind != "led" and use.pin in board.strapping:
            text = "is sampled at reset; what is wired there may keep the chip from starting"
            problems.append(Problem(f"{use.where} pin", f"GPIO{use.pin} {text}"))
        if use.kind == "input" and use.pin in board.input_only:
            text = "has no pull-up of its own; wire 10 kOhm from it to 3V3"
            problems.append(Problem(f"{use.where} pin", f"GPIO{use.pin} {text}"))
    return problems
