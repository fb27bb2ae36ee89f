"""A board drawn with what is on its pins: as text, and as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from fieldhand.boards.board import Board, HeaderPin
from fieldhand.boards.pinrules import Use

# Role: what it is called in the drawing. The first five are kinds of `Use`.
ROLES = {
    "relay": "relay",
    "led": "LED",
    "bus": "bus",
    "input": "input",
    "analog": "analog",
    "free": "free",
    "reserved": "not for a node",
    "power": "power, ground, reset",
}
_MARKS = {"free": "○", "reserved": "×", "power": "·"}
_CONNECTED = "●"


@dataclass(frozen=True)
class Place:
    """One pin of a header. `text` says what is on it, else what is to be known about it."""

    label: str
    gpio: int | None
    role: str
    text: str
    connected: bool

    @property
    def name(self) -> str:
        """What is printed on the board, and the GPIO where that says something else: "VP 36"."""
        if self.gpio is None or self.label.removeprefix("IO") == str(self.gpio):
            return self.label
        return f"{self.label} {self.gpio}"


def places(board: Board, uses: Sequence[Use] | None) -> tuple[list[Place], list[Place]]:
    """Both rows of the header, top to bottom. Without `uses` (None) the defaults are shown."""
    defaults = _defaults(board) if uses is None else {}
    by_pin: dict[int, list[Use]] = {}
    for use in uses or ():
        by_pin.setdefault(use.pin, []).append(use)
    left, right = ([_place(board, pin, by_pin, defaults) for pin in row] for row in board.header)
    return left, right


def _place(
    board: Board,
    pin: HeaderPin,
    by_pin: Mapping[int, Sequence[Use]],
    defaults: Mapping[int, str],
) -> Place:
    if pin.gpio is None:
        return Place(pin.label, None, "power", "", False)
    here = by_pin.get(pin.gpio, ())
    if here:
        text = " + ".join(dict.fromkeys(use.what for use in here))
        return Place(pin.label, pin.gpio, here[0].kind, text, True)
    text = ", ".join(_facts(board, pin.gpio, defaults))
    role = "reserved" if pin.gpio in board.flash | board.console | board.usb else "free"
    return Place(pin.label, pin.gpio, role, text, False)


def _facts(board: Board, pin: int, defaults: Mapping[int, str]) -> Iterable[str]:
    if pin in defaults:
        yield f"default {defaults[pin]}"
    for role, text in (
        ("flash", "flash chip"),
        ("console", "serial console"),
        ("usb", "USB"),
        ("strapping", "strapping"),
        ("input_only", "input only"),
        ("adc1", "ADC1"),
        ("dac", "DAC"),
    ):
        if pin in getattr(board, role):
            yield text
    if pin in board.notes:
        yield board.notes[pin]


def _defaults(board: Board) -> dict[int, str]:
    found = {}
    for key, value in board.defaults.items():
        if isinstance(value, Mapping):
            for inner, pin in value.items():
                found[pin] = f"I2C {inner.upper()}" if key == "i2c" else inner
        elif isinstance(value, int) and not isinstance(value, bool):
            found[value] = {"led": "LED", "onewire": "1-Wire"}.get(key, key)
    return found


def heading(board: Board, node: str | None) -> str:
    return f"{node} on {board.name}" if node is not None else board.name


def text(board: Board, uses: Sequence[Use] | None, node: str | None = None) -> str:
    """The board as lines of text, two columns as on its headers."""
    left, right = places(board, uses)
    said = max(len(_said(place)) for place in left)
    name = max(len(place.name) for place in left)
    edge = " " * (said + name + 3)
    width = 12
    lines = [f"{heading(board, node)}: {board.title}", "", f"{edge}┌{'─' * width}┐"]
    for i in range(max(len(left), len(right))):
        here = left[i] if i < len(left) else Place("", None, "power", "", False)
        there = right[i] if i < len(right) else Place("", None, "power", "", False)
        inside = f"{_mark(here)}{' ' * (width - 4)}{_mark(there)}"
        start = f"{_said(here):>{said}}  {here.name:>{name}} "
        lines.append(f"{start}┤ {inside} ├ {there.name:<8} {_said(there)}".rstrip())
    usb = "[USB]".center(width, "─")
    lines += [f"{edge}└{usb}┘", ""]
    lines.append(f"{_CONNECTED} connected  ○ free  × not for a node  · power, ground, reset")
    return "\n".join(lines)


def _said(place: Place) -> str:
    if place.connected and place.text != ROLES[place.role]:
        return f"{place.text} [{ROLES[place.role]}]"
    return place.text


def _mark(place: Place) -> str:
    if place.connected:
        return _CONNECTED
    return _MARKS[place.role] if place.label else " "


def record(board: Board, uses: Sequence[Use] | None) -> list[dict[str, Any]]:
    """The pins as JSON has them."""
    return [
        {
            "side": side,
            "label": place.label,
            "gpio": place.gpio,
            "role": place.role,
            "connected": place.connected,
            "text": place.text,
        }
        for side, row in zip(("left", "right"), places(board, uses), strict=True)
        for place in row
    ]


# -- SVG -----------------------------------------------------------------------------------------

_ROW = 24
_TOP = 64
_SIDE = 330  # of the text on either side of the board
_BOARD = 240
_MARGIN = 16
_PILL = 54
_WIDTH = 2 * (_MARGIN + _SIDE) + _BOARD
_MAX_TEXT = 38  # characters that fit beside a pin

# Okabe and Ito's colours, which the colour-blind tell apart; each pill bears its word too.
_STYLE = """
text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1b1f24; }
.title { font-size: 18px; font-weight: 600; }
.sub, .fact { fill: #57606a; }
.fact { font-size: 12px; }
.back { fill: #ffffff; }
.board { fill: #e9edf1; stroke: #8c959f; }
.module { fill: #d0d7de; }
.wire { stroke: #57606a; stroke-width: 1.5; }
.pin { fill: #ffffff; stroke: #57606a; stroke-width: 1.5; }
.pin.reserved, .pin.power { fill: #8c959f; stroke: #57606a; }
.word { font-size: 11px; font-weight: 600; text-anchor: middle; fill: #000000; }
.relay, .pin.relay { fill: #e69f00; }
.led, .pin.led { fill: #f0e442; }
.bus, .pin.bus { fill: #56b4e9; }
.input, .pin.input { fill: #3fc79a; }
.analog, .pin.analog { fill: #e09ac0; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.sub, .fact { fill: #9aa4ae; }
.back { fill: #0d1117; }
.board { fill: #21262d; stroke: #6e7681; }
.module { fill: #30363d; }
.wire { stroke: #9aa4ae; }
.pin { fill: #0d1117; stroke: #9aa4ae; }
.pin.reserved, .pin.power { fill: #6e7681; stroke: #9aa4ae; }
text.word { fill: #000000; }
}
"""


def svg(board: Board, uses: Sequence[Use] | None, node: str | None = None) -> str:
    """The board as an SVG document: light or dark as the reader's system is."""
    left, right = places(board, uses)
    rows = max(len(left), len(right))
    bottom = _TOP + rows * _ROW + 16
    height = bottom + 72
    root = _element(
        None,
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
        aria_labelledby="title desc",
    )
    _element(root, "title", f"Pinout of {heading(board, node)}", id="title")
    _element(root, "desc", _description(left, right), id="desc")
    _element(root, "style", _STYLE)
    _element(root, "rect", class_="back", width=_WIDTH, height=height, rx=8)
    _element(root, "text", heading(board, node), class_="title", x=_MARGIN, y=30)
    _element(root, "text", board.title, class_="sub", x=_MARGIN, y=50)
    edge = _MARGIN + _SIDE
    _element(
        root,
        "rect",
        class_="board",
        x=edge,
        y=_TOP,
        width=_BOARD,
        height=bottom - _TOP,
        rx=10,
    )
    _element(root, "rect", class_="module", x=edge + 75, y=_TOP + 10, width=90, height=110, rx=4)
    _element(root, "text", board.chip, class_="middle", x=edge + _BOARD // 2, y=_TOP + 70)
    _element(root, "rect", class_="module", x=edge + 90, y=bottom - 26, width=60, height=34, rx=4)
    _element(root, "text", "USB", class_="middle", x=edge + _BOARD // 2, y=bottom - 5)
    for side, row in ((-1, left), (1, right)):
        for i, place in enumerate(row):
            _pin(root, place, side, _TOP + 8 + i * _ROW + _ROW // 2)
    _legend(root, bottom + 36)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _pin(root: ElementTree.Element, place: Place, side: int, y: int) -> None:
    """One pin; `side` is -1 on the left, 1 on the right."""
    group = _element(root, "g")
    edge = _WIDTH // 2 + side * _BOARD // 2
    away, towards = ("end", "") if side < 0 else ("", "end")
    if place.connected:
        _element(group, "title", f"{place.name}: {place.text} ({ROLES[place.role]})")
        start, end = edge - side * 14, edge + side * 22
        _element(group, "line", class_="wire", x1=start, x2=end, y1=y, y2=y)
        x = end if side > 0 else end - _PILL
        _word(group, place.role, x, y)
        shown = place.text if len(place.text) <= _MAX_TEXT else place.text[: _MAX_TEXT - 1] + "…"
        if shown != ROLES[place.role]:
            _element(group, "text", shown, class_=away, x=end + side * (_PILL + 8), y=y + 4)
    elif place.text:
        _element(group, "text", place.text, class_=f"fact {away}", x=edge + side * 22, y=y + 4)
    role = "" if place.role == "free" else f" {place.role}"
    _element(group, "circle", class_=f"pin{role}", cx=edge - side * 14, cy=y, r=6)
    _element(group, "text", place.name, class_=towards, x=edge - side * 28, y=y + 4)


def _word(group: ElementTree.Element, role: str, x: int, y: int) -> None:
    _element(group, "rect", class_=role, x=x, y=y - 9, width=_PILL, height=18, rx=9)
    _element(group, "text", ROLES[role], class_="word", x=x + _PILL // 2, y=y + 4)


def _legend(root: ElementTree.Element, y: int) -> None:
    x = _MARGIN
    for role, what in (
        ("relay", "switched output"),
        ("led", "the node's LED"),
        ("bus", "sensor line, both ways"),
        ("input", "counted pulses"),
        ("analog", "voltage, ADC1"),
    ):
        _word(root, role, x, y)
        _element(root, "text", what, class_="fact", x=x + _PILL + 6, y=y + 4)
        x += _PILL + 6 + 7 * len(what) + 8
    y += 22
    for role, x in (("free", _MARGIN + 8), ("reserved", _MARGIN + 80)):
        _element(root, "circle", class_=f"pin {role}", cx=x, cy=y, r=6)
        what = "free" if role == "free" else "power, ground, reset, or not for a node"
        _element(root, "text", what, class_="fact", x=x + 12, y=y + 4)


def _description(left: Iterable[Place], right: Iterable[Place]) -> str:
    said = [
        f"{place.name} {side}: {place.text} ({ROLES[place.role]})"
        for side, row in (("left", left), ("right", right))
        for place in row
        if place.connected
    ]
    return "; ".join(said) if said else "Nothing is connected."


def _element(
    parent: ElementTree.Element | None, tag: str, body: str | None = None, **attributes: object
) -> ElementTree.Element:
    """A new element; class_ and aria_x stand for class and aria-x, empty ones are left out."""
    named = {
        key.rstrip("_").replace("aria_", "aria-"): str(value)
        for key, value in attributes.items()
        if value != ""
    }
    made = (
        ElementTree.Element(tag, named)
        if parent is None
        else ElementTree.SubElement(parent, tag, named)
    )
    made.text = body
    return made
