"""The boards Fieldhand knows: one TOML file each, in `boards/`.

A file may say `like = "OTHER"`: what it does not give itself, table by table, is OTHER's; the
flash and the image only if the chip is the same.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from fieldhand import paths
from fieldhand.errors import ConfigError, FieldhandError, did_you_mean
from fieldhand.tomltable import Table

CHIPS = ("esp32", "esp32s3", "esp32c3", "sim")
DOWNLOADS = "https://micropython.org/resources/firmware/"
_PIN_MAX = 48
_MB = 1 << 20
_ROLES = ("flash", "input_only", "adc1", "adc2", "dac", "strapping", "console", "usb")
# Of these a pin has one at most.
_EXCLUSIVE = (
    ("flash", "usable"),
    ("adc1", "adc2"),
    ("console", "usb"),
    ("console", "strapping"),
    ("input_only", "dac"),
)
_NEEDS_USABLE = ("input_only", "adc1", "adc2", "dac", "strapping", "console", "usb")
_PURPOSES = ("led", "relay", "dht", "onewire", "pulse", "battery")
_OF_THE_FLASH = ("flash_size", "image")


@dataclass(frozen=True)
class Image:
    """The MicroPython build for a board. `sha256` is None where none is confirmed."""

    name: str
    variant: str
    version: str
    date: str
    offset: int
    sha256: str | None

    @property
    def file(self) -> str:
        """Its name at micropython.org, "ESP32_GENERIC-OTA-20241025-v1.24.0.bin"."""
        build = f"{self.name}-{self.variant}" if self.variant else self.name
        return f"{build}-{self.date}-v{self.version}.bin"

    @property
    def url(self) -> str:
        return DOWNLOADS + self.file


@dataclass(frozen=True)
class Hil:
    """How a board is wired for tests with hardware in the loop, GPIO numbers.

    `relay_output` is looped to `relay_input`, `analog_output` to `analog_input`: from the DAC, or
    as PWM through a low pass of 10 kOhm and 1 uF where the chip has none.
    """

    relay_output: int
    relay_input: int
    analog_source: Literal["dac", "pwm"]
    analog_output: int
    analog_input: int


@dataclass(frozen=True)
class HeaderPin:
    """A pin of a header: what is printed beside it, and its GPIO unless it is power or reset."""

    label: str
    gpio: int | None


@dataclass(frozen=True)
class Board:
    """Pins are GPIO numbers. `defaults` says which pin serves a purpose nobody named a pin for.

    It also has `relay_active_low` (bool) and, where it is not the ESP32's, `full_scale` (the volts
    that the ADC reads as 4095).

    `flash_size` is in bytes; it and `image` are 0 and None for the simulator. `header` holds the
    left and the right row, from top to bottom. `timers` is how many actuators can run at once.
    """

    name: str
    title: str
    chip: str
    flash_size: int
    image: Image | None
    timers: int
    usable: frozenset[int]
    flash: frozenset[int]
    input_only: frozenset[int]
    adc1: frozenset[int]
    adc2: frozenset[int]
    dac: frozenset[int]
    strapping: frozenset[int]
    console: frozenset[int]
    usb: frozenset[int]
    notes: Mapping[int, str]
    defaults: Mapping[str, Any]
    hil: Hil | None
    header: tuple[tuple[HeaderPin, ...], tuple[HeaderPin, ...]]

    @property
    def simulated(self) -> bool:
        return self.chip == "sim"

    def label(self, pin: int) -> str:
        """What is printed beside a GPIO on the board, "VP"; "GPIO24" where it has no pin."""
        for row in self.header:
            for place in row:
                if place.gpio == pin:
                    return place.label
        return f"GPIO{pin}"


@cache
def names() -> tuple[str, ...]:
    """The boards there are, sorted."""
    return tuple(sorted(path.stem for path in paths.boards().glob("*.toml")))


@cache
def load(name: str) -> Board:
    """The board called `name`. Raises FieldhandError for an unknown one."""
    if name not in names():
        raise FieldhandError(
            f"unknown board '{name}'{did_you_mean(name, names())}; boards: {', '.join(names())}"
        )
    return read(paths.boards() / f"{name}.toml")


def read(path: Path) -> Board:
    """The board a file describes. Raises ConfigError with everything that is wrong in it."""
    problems: list[str] = []
    table = Table(problems, "", _data(path))
    board = _board(path.stem, table)
    table.close()
    if not problems:
        problems += _contradictions(board)
    if problems:
        raise ConfigError(str(path), problems)
    return board


def _data(path: Path) -> dict[str, Any]:
    """What is in the file and in the one it is `like`."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [error.strerror or str(error)]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"is not TOML: {error}"]) from error
    other = data.pop("like", None)
    if other is None:
        return data
    place = path.parent / f"{other}.toml"
    if not isinstance(other, str) or place == path or not place.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.toml") if p != path))
        raise ConfigError(str(path), [f"like: {other!r} is no board; boards: {known}"])
    base = tomllib.loads(place.read_text("utf-8"))
    if "like" in base:
        raise ConfigError(str(path), [f"like: {other} is itself like another board"])
    if data.get("chip") != base.get("chip"):
        base = {key: value for key, value in base.items() if key not in _OF_THE_FLASH}
    return base | data


def _board(name: str, table: Table) -> Board:
    chip = table.choice("chip", CHIPS) or ""
    flash_size, image = 0, None
    if chip != "sim":
        flash_size = _flash_size(table)
        image = _image(_inner(table, "image"))
    pins = _inner(table, "pins")
    usable = _pins(pins, "usable", required=True)
    roles = {role: _pins(pins, role) for role in _ROLES}
    pins.close()
    board = Board(
        name=name,
        title=table.text("title", required=True) or "",
        chip=chip,
        flash_size=flash_size,
        image=image,
        timers=table.whole("timers", 0, 1, 16),
        usable=usable,
        notes=_notes(table.table("notes", "[notes]")),
        defaults=_defaults(_inner(table, "defaults")),
        hil=_hil(table.table("hil", "[hil]")),
        header=_header(_inner(table, "header")),
        **roles,
    )
    if not board.timers:
        table.problem("timers", "is required")
    return board


def _inner(table: Table, key: str) -> Table:
    inner = table.table(key, f"[{key}]")
    if inner is None:
        if key not in table.data:
            table.problem(f"[{key}]", "is required")
        return Table([], f"[{key}]", {})
    return inner


def _flash_size(table: Table) -> int:
    text = table.text("flash_size", required=True)
    match = re.fullmatch(r"(1|2|4|8|16|32)MB", text or "")
    if match is None:
        if text is not None:
            table.problem("flash_size", f'"{text}" is not a size such as "4MB"')
        return 0
    return int(match[1]) * _MB


def _image(table: Table) -> Image:
    def field(key: str, pattern: str, example: str) -> str:
        text = table.text(key, required=True) or ""
        if text and not re.fullmatch(pattern, text):
            table.problem(key, f'"{text}" is not of the form "{example}"')
        return text

    image = Image(
        name=field("name", r"[A-Z0-9_]+", "ESP32_GENERIC"),
        variant=table.text("variant", "") or "",
        version=field("version", r"\d+\.\d+\.\d+", "1.24.0"),
        date=field("date", r"20\d{6}", "20241025"),
        offset=table.whole("offset", 0, 0, 0x10000),
        sha256=field("sha256", r"[0-9a-f]{64}", "64 digits 0-9a-f")
        if "sha256" in table.data
        else None,
    )
    if "offset" not in table.data:
        table.problem("offset", "is required")
    table.raw("sha256")
    table.close()
    return image


def _pin(table: Table, key: str, where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _PIN_MAX:
        table.problem(key, f"{where}{value!r} is not a GPIO number from 0 to {_PIN_MAX}")
        return -1
    return value


def _pins(table: Table, key: str, required: bool = False) -> frozenset[int]:
    values = table.raw(key)
    if values is None:
        if required and table.data:
            table.problem(key, "is required")
        return frozenset()
    if not isinstance(values, list):
        table.problem(key, "is not a list of GPIO numbers")
        return frozenset()
    found = [_pin(table, key, "", value) for value in values]
    for pin in sorted({pin for pin in found if found.count(pin) > 1}):
        table.problem(key, f"GPIO{pin} is listed twice")
    return frozenset(found)


def _notes(table: Table | None) -> Mapping[int, str]:
    found: dict[int, str] = {}
    if table is not None:
        for key in table.data:
            text = table.text(key)
            if not key.isdecimal() or int(key) > _PIN_MAX:
                table.problem(key, "is not a GPIO number")
            elif text is not None:
                found[int(key)] = text
    return MappingProxyType(found)


def _defaults(table: Table) -> Mapping[str, Any]:
    found: dict[str, Any] = {"relay_active_low": table.flag("relay_active_low", False)}
    for key in _PURPOSES:
        value = table.raw(key)
        if value is not None:
            found[key] = _pin(table, key, "", value)
    volts = table.raw("full_scale")
    if isinstance(volts, float) and 0.5 <= volts <= 5:
        found["full_scale"] = volts
    elif volts is not None:
        table.problem("full_scale", "is not a voltage such as 3.1, from 0.5 to 5")
    for key, keys in (("i2c", ("scl", "sda")), ("analog", None)):
        inner = table.table(key)
        names = keys or (tuple(inner.data) if inner is not None else ())
        found[key] = _pin_table(inner, names) if inner is not None else {}
    for key in ("relay", "i2c"):
        if table.data and not found.get(key):
            table.problem(key, "is required")
    table.close()
    return MappingProxyType(found)


def _pin_table(table: Table, keys: Iterable[str]) -> dict[str, int]:
    found = {}
    for key in keys:
        value = table.raw(key)
        if value is None:
            table.problem(key, "is required")
        else:
            found[key] = _pin(table, key, "", value)
    table.close()
    return found


def _hil(table: Table | None) -> Hil | None:
    if table is None:
        return None
    relay, analog = table.table("relay"), table.table("analog")
    table.close()
    if relay is None or analog is None:
        table.problem("", "needs relay = {output, input} and analog = {source, output, input}")
        return None
    source = analog.choice("source", ("dac", "pwm"))
    loop = _pin_table(relay, ("output", "input"))
    wave = {key: _pin(analog, key, "", analog.raw(key)) for key in ("output", "input")}
    analog.close()
    return Hil(
        relay_output=loop.get("output", -1),
        relay_input=loop.get("input", -1),
        analog_source="dac" if source == "dac" else "pwm",
        analog_output=wave["output"],
        analog_input=wave["input"],
    )


def _header(table: Table) -> tuple[tuple[HeaderPin, ...], tuple[HeaderPin, ...]]:
    rows = []
    for key in ("left", "right"):
        values = table.raw(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            if table.data:
                table.problem(key, 'is not a list such as ["3V3", "EN", "VP=36"]')
            values = []
        row = []
        for value in values:
            label, equals, number = value.partition("=")
            if not label or (equals and not number.isdecimal()):
                table.problem(key, f'"{value}" is neither a NAME nor NAME=GPIO')
                continue
            row.append(HeaderPin(label, int(number) if equals else None))
        rows.append(tuple(row))
    table.close()
    return rows[0], rows[1]


def _contradictions(board: Board) -> list[str]:
    """What each key may say by itself, but not together with the others."""
    found = []
    for role, other in _EXCLUSIVE:
        for pin in sorted(getattr(board, role) & getattr(board, other)):
            found.append(f"[pins] {role}: GPIO{pin} is in {other} too; it can only be one of them")
    for role in _NEEDS_USABLE:
        for pin in sorted(getattr(board, role) - board.usable):
            found.append(f"[pins] {role}: GPIO{pin} is not in usable")
    for pin in sorted(set(board.notes) - board.usable):
        found.append(f"[notes] {pin}: GPIO{pin} is not in usable")
    places = [place.gpio for row in board.header for place in row if place.gpio is not None]
    for pin in sorted({pin for pin in places if places.count(pin) > 1}):
        found.append(f"[header]: GPIO{pin} is there twice")
    for pin in sorted(set(places) - board.usable - board.flash):
        found.append(f"[header]: GPIO{pin} is neither in usable nor in flash")
    for pin in sorted(board.usable - set(places)):
        found.append(f"[pins] usable: GPIO{pin} is in neither row of [header]")
    return found + _unfit_defaults(board) + _unfit_loops(board)


def _unfit_defaults(board: Board) -> list[str]:
    reserved = board.flash | board.console | board.usb
    digital = board.usable - reserved - board.input_only
    analog = (board.usable & board.adc1) - reserved
    fit = {
        "led": digital,
        "relay": digital - board.strapping,
        "dht": digital - board.strapping,
        "onewire": digital - board.strapping,
        "pulse": board.usable - reserved - board.strapping,
        "battery": analog,
    }
    uses = [(key, board.defaults[key], fit[key]) for key in _PURPOSES if key in board.defaults]
    uses += [(f"i2c.{key}", pin, fit["dht"]) for key, pin in board.defaults["i2c"].items()]
    uses += [(f"analog.{key}", pin, analog) for key, pin in board.defaults["analog"].items()]
    found = []
    owners: dict[int, str] = {}
    for key, pin, pins in uses:
        if pin not in pins:
            found.append(f"[defaults] {key}: GPIO{pin} is not fit for it")
        if owners.setdefault(pin, key) != key:
            found.append(f"[defaults] {key}: GPIO{pin} is already {owners[pin]}'s")
    return found


def _unfit_loops(board: Board) -> list[str]:
    hil = board.hil
    if hil is None:
        return []
    reserved = board.flash | board.console | board.usb
    free = board.usable - reserved
    outputs = free - board.input_only - board.strapping
    uses = (
        ("relay.output", hil.relay_output, outputs),
        ("relay.input", hil.relay_input, free - board.strapping),
        ("analog.output", hil.analog_output, board.dac if hil.analog_source == "dac" else outputs),
        ("analog.input", hil.analog_input, free & board.adc1),
    )
    found = [
        f"[hil] {key}: GPIO{pin} is not fit for it" for key, pin, fit in uses if pin not in fit
    ]
    if len({pin for _, pin, _ in uses}) < len(uses):
        found.append("[hil]: a pin is used twice")
    return found
