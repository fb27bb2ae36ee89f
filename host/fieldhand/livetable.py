"""The live table of `fieldhand watch`: one row per node, a sparkline per quantity."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fieldhand.records import (
    Alert,
    Event,
    Invalid,
    NodeEvent,
    Reading,
    Reply,
    Status,
    in_words,
    printable,
)
from fieldproto.quantities import UNITS

if TYPE_CHECKING:
    from fieldhand.client import Fleet, NodeView

# Values a sparkline shows, and the latest notices below the table.
SPARK_WIDTH = 24
MAX_NOTICES = 6
# Nodes with sparklines; a table longer than this no screen shows.
MAX_ROWS = 200
# A reading older than this is printed dim.
STALE_S = 120.0

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float]) -> str:
    """The values as blocks of eight heights, the lowest value lowest; a flat line in the middle."""
    values = list(values)
    if not values:
        return ""
    low, high = min(values), max(values)
    if high == low:
        return _BLOCKS[3] * len(values)
    scale = (len(_BLOCKS) - 1) / (high - low)
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


class Spark:
    """A sparkline of the latest values that fit, in the colour of its column."""

    def __init__(self, values: Iterable[float]) -> None:
        self._values = list(values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(sparkline(self._values[-options.max_width :]))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        # A narrow screen costs the line its past, not the values beside it their digits.
        return Measurement(min(4, options.max_width), min(len(self._values), options.max_width))


def age(seconds: float | None) -> str:
    """ "3 s", "2 min", "5 h": how long ago."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


class LiveTable:
    """Collects events and renders a table of a fleet; `node` restricts it to one."""

    def __init__(self, node: str | None = None) -> None:
        self._only = node
        self._history: OrderedDict[tuple[str, str], dict[str, deque[float]]] = OrderedDict()
        self._notices: deque[Text] = deque(maxlen=MAX_NOTICES)

    def add(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, Reading):
            key = (event.dialect, event.node)
            if key not in self._history and len(self._history) >= MAX_ROWS:
                self._history.popitem(last=False)
            series = self._history.setdefault(key, {})
            for name, value in event.quantities.items():
                series.setdefault(name, deque(maxlen=SPARK_WIDTH)).append(value)
            return
        text, style = _notice(event)
        if text:
            clock = time.strftime("%H:%M:%S", time.localtime(event.received_at))
            self._notices.append(Text(printable(f"{clock} {text}"), style))

    def render(self, fleet: Fleet) -> RenderableType:
        """The table as it is now."""
        now = time.time()
        table = Table(expand=True, border_style="dim", header_style="bold")
        table.add_column("node", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("last reading", ratio=1)
        table.add_column("queue", justify="right")
        table.add_column("age", justify="right", no_wrap=True)
        views = [view for view in fleet.nodes() if self._only in (None, view.name)]
        for view in views[:MAX_ROWS]:
            table.add_row(*self._row(view, now))
        counts = fleet.counts
        link = "connected" if fleet.connected else "no broker, trying again"
        caption = Text(
            f"{fleet.broker.host}:{fleet.broker.port} {link} · {counts.readings} readings · "
            f"{counts.invalid} refused · {counts.duplicates} duplicates",
            "dim",
        )
        return Group(table, *self._notices, caption)

    def _row(self, view: NodeView, now: float) -> tuple[RenderableType, ...]:
        status = view.status
        if status is None:
            state = Text("heard" if view.reading else "not heard", "" if view.reading else "dim")
        else:
            word = str(status.values.get("activity") or status.state)
            word = word if status.online else status.state
            fine = status.online
            for key, short in (("config_error", "config error"), ("safe_mode", "safe mode")):
                if status.online and status.values.get(key):
                    word, fine = short, False
            state = Text(printable(word), "green" if fine else "bold red")
        queued = status.values.get("queued") if status is not None else None
        heard = None if view.heard_at is None else now - view.heard_at
        return (
            Text.assemble(printable(view.name), "\n", (view.dialect, "dim")),
            state,
            self._reading(view, now),
            "-" if queued is None else str(queued),
            age(heard),
        )

    def _reading(self, view: NodeView, now: float) -> RenderableType:
        if view.reading is None:
            return Text("-", "dim")
        stale = now - view.reading.received_at > STALE_S
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(style="cyan")
        series = self._history.get((view.dialect, view.name), {})
        for name, value in view.reading.quantities.items():
            unit = UNITS.get(name, "")
            unit = "" if unit in ("raw", "pH") else unit
            grid.add_row(
                Text(printable(name), "dim"),
                Text(f"{value:g} {unit}".rstrip(), "dim" if stale else ""),
                Spark(series.get(name, ())),
            )
        return grid


def _notice(event: Event) -> tuple[str, str]:
    if isinstance(event, Alert):
        style = {"critical": "bold red", "warning": "yellow"}.get(event.severity, "")
        return f"{event.node} alert: {event.message}", style
    if isinstance(event, NodeEvent):
        return f"{event.node} {in_words(event)}", "cyan"
    if isinstance(event, Reply):
        error = f": {event.error}" if event.error else ""
        what = f"{event.command or event.id or 'command'} {event.state}{error}"
        return f"{event.node} {what}", "red" if event.state == "failed" else "green"
    if isinstance(event, Invalid):
        return f"refused {event.topic}: {event.reason}", "red"
    if isinstance(event, Status) and not event.online and not event.retained:
        return f"{event.node} went offline", "bold red"
    return "", ""
