"""Many nodes from one CSV file, to tables of the fleet file.

    id,like,dialect,board,org
    pool-001,pool,,,org-123
    pool-002,,dese,esp32-s3-devkitc,org-123

`id` is required. `like` names a node of the fleet file whose table is taken over; `dialect`,
`board` and a dialect's options (columns of their names) go over that. All of it is checked, by the
fleet file's own rules too, before anything is made.
"""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldhand import boards, dialects, fleetfile
from fieldhand.errors import ConfigError, FieldhandError, did_you_mean
from fieldhand.fleetfile import FleetFile
from fieldhand.provisioning import credentials, labels, tomlwrite

_COLUMNS = ("id", "like", "dialect", "board")
MAX_BYTES = 1_000_000
_IN_NODE = re.compile(r"\[node\.(.*?)\] ?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Bulk:
    """A checked CSV file: every id in it, and the tables that the fleet file lacks of them."""

    file: FleetFile  # with the new nodes
    nodes: tuple[str, ...]
    tables: str


def read(path: Path, fleet_path: Path) -> Bulk:
    """Read and check a CSV file against a fleet file. Raises ConfigError naming line and column.

    A node that the fleet file has already gets no table, so that a second run does no harm.
    """
    file = fleetfile.load(fleet_path)
    raw = tomllib.loads(fleet_path.read_text("utf-8"))
    rows, problems = _rows(path)
    lines: dict[str, int] = {}
    tables: dict[str, dict[str, Any]] = {}
    for number, row in rows:
        node = row["id"]
        before = len(problems)
        for column, problem in _check(row, file, lines):
            problems.append(f"line {number}, column {column}: {problem}")
        lines.setdefault(node, number)
        if len(problems) == before and node not in file.nodes:
            tables[node] = _table(row, raw)
    if problems:
        raise ConfigError(str(path), problems)
    text = "\n".join(tomlwrite.table(("node", node), tables[node]) for node in tables)
    if len(text.encode()) + fleet_path.stat().st_size > fleetfile.MAX_BYTES:
        raise ConfigError(
            str(path),
            [f"so many nodes make a fleet file of over {fleetfile.MAX_BYTES} bytes: split them"],
        )
    whole = dict(raw, node=dict(raw["node"], **tables))
    try:
        file = fleetfile.check(whole, fleet_path)
    except ConfigError as error:
        taken_over = {row["id"] for _, row in rows if row.get("like")}
        told = [_placed(text, lines, taken_over) for text in error.problems]
        raise ConfigError(str(path), told) from None
    return Bulk(file, tuple(lines), text)


def _rows(path: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """([(line, column -> text)], what is wrong so far), blanks around the texts taken away.

    Rows of another length and unknown columns are left out, so that the others can be checked.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")  # a spreadsheet's CSV may begin with a mark
    except OSError as error:
        raise ConfigError(str(path), [error.strerror or str(error)]) from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), [f"line {line}: is not UTF-8: save it as such"]) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(str(path), [f"is larger than {MAX_BYTES} bytes"])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        problems, unknown = _check_header(header)
        if len(problems) > len(unknown):
            raise ConfigError(str(path), problems)  # which cell is which is not known
        rows = []
        while True:
            line = reader.line_num + 1  # a quoted text may span lines: where the row begins
            cells = next(reader, None)
            if cells is None:
                break
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                problems.append(f"line {line}: {len(cells)} columns, the first has {len(header)}")
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            rows.append((line, {name: row[name] for name in row if name not in unknown}))
    except csv.Error as error:
        raise ConfigError(str(path), [f"line {reader.line_num}: {error}"]) from error
    if not problems and not rows:
        raise ConfigError(str(path), ["has no node"])
    return rows, problems


def _delimiter(text: str) -> str:
    """A spreadsheet of a country with decimal commas writes semicolons."""
    first = text.partition("\n")[0]
    return ";" if ";" in first and "," not in first else ","


def _check_header(header: list[str]) -> tuple[list[str], list[str]]:
    """(what is wrong, the unknown columns); each of these is one of the former."""
    options = {f.name for name in dialects.names() for f in dialects.unbound(name).option_fields}
    known = [*_COLUMNS, *sorted(options)]
    unknown = [name for name in header if name not in known]
    problems = [
        f"line 1, column {name or '?'}: unknown{did_you_mean(name, known)}; columns: "
        + ", ".join(known)
        for name in unknown
    ]
    problems += [
        f"line 1, column {name}: is there twice" for name in set(header) if header.count(name) > 1
    ]
    if "id" not in header:
        problems.append("line 1: no column id")
    return problems, unknown


def _check(row: Mapping[str, str], file: FleetFile, seen: Mapping[str, int]) -> list[Any]:
    """[(column, what is wrong)] of a row; what the fleet file checks is not checked here."""
    node, like, dialect, board = (row.get(name, "") for name in _COLUMNS)
    problems: list[tuple[str, str]] = []
    if not node:
        problems.append(("id", "is empty"))
    elif node in seen:
        problems.append(("id", f"'{node}' is on line {seen[node]} already"))
    elif not labels.printable(node):
        problems.append(("id", f"{node!r} has letters that a label cannot show: Latin ones only"))
    else:
        try:
            credentials.make(node)
        except FieldhandError as error:
            problems.append(("id", str(error)))
    if like and like not in file.nodes:
        problems.append(
            ("like", f"'{like}' is no node of the fleet file{did_you_mean(like, file.nodes)}")
        )
        return problems
    if board and board not in boards.names():
        problems.append(("board", f"unknown '{board}'{did_you_mean(board, boards.names())}"))
    model = file.nodes.get(node) or file.nodes.get(like)
    if not dialect and model is None:
        problems.append(("dialect", "is empty, and so is like"))
        return problems
    if dialect and dialect not in dialects.names():
        hint = did_you_mean(dialect, dialects.names())
        problems.append(
            ("dialect", f"unknown '{dialect}'{hint}; dialects: {', '.join(dialects.names())}")
        )
        return problems
    if dialect and model is not None and model.dialect != dialect:
        problems.append(("dialect", f"'{model.name}' of the fleet file speaks {model.dialect}"))
        return problems
    speaks = dialects.unbound(dialect or (model.dialect if model is not None else ""))
    taken = {field.name for field in speaks.option_fields}
    for column in row:
        if row[column] and column not in _COLUMNS and column not in taken:
            problems.append((column, f"{speaks.name} has no option {column}"))
    for field in speaks.option_fields:
        inherited = model is not None and field.name in model.options
        if field.required and not row.get(field.name) and not inherited:
            problems.append((field.name, f"{speaks.name} needs it"))
        elif field.type == "bool" and row.get(field.name, "") not in ("", "true", "false"):
            problems.append((field.name, f"'{row[field.name]}' is not true or false"))
    return problems


def _table(row: Mapping[str, str], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The table of the fleet file that a row stands for."""
    table = dict(raw["node"].get(row.get("like", ""), {}))
    for key in ("dialect", "board"):
        if row.get(key):
            table[key] = row[key]
    options = dict(table.get("options", {}))
    kinds = {f.name: f.type for f in dialects.unbound(table["dialect"]).option_fields}
    for name, kind in kinds.items():
        if row.get(name):
            options[name] = row[name] == "true" if kind == "bool" else row[name]
    if options:
        table["options"] = options
    return table


def _placed(problem: str, lines: Mapping[str, int], taken_over: set[str]) -> str:
    """A problem of the fleet file's check, by the line of the CSV file that causes it."""
    match = _IN_NODE.match(problem)
    if match is None or match[1] not in lines:
        return problem
    column = next((name for name in _COLUMNS if match[2].startswith(name)), "id")
    if match[2].startswith(("sensors", "actuators")) and match[1] in taken_over:
        column = "like"  # what suits the board it is taken from may not suit this one
    if match[2].startswith("options."):
        column = match[2].removeprefix("options.").partition(":")[0]
    return f"line {lines[match[1]]}, column {column}: {match[2].removeprefix(': ')}"
