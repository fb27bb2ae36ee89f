"""Readings decoded quickly, for a host that hears thousands a second.

`fieldproto` walks its field tables for each message, on a node and here alike. For the messages
that carry readings this compiles the table once, to Python that checks the same and nothing but
the ordinary: whatever is unusual, wrong or merely rare raises `Unsure`, and `Dialect.decode` says
what it is. So it never refuses a message, and gives for none another reading than `decode`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from fieldhand.records import NO_PROVENANCE, Provenance, Reading
from fieldproto.dialect import Dialect
from fieldproto.jsonstrict import MAX_DEPTH, MAX_PAYLOAD
from fieldproto.messages import ATTRIBUTES, EXT, Message
from fieldproto.schema import MAX_NUMBER, MAX_STRING, Field, is_level
from fieldproto.timestamps import parse_utc
from fieldproto.uplink import EXT_FIELDS

# Times that are remembered: those of one second are mostly the same.
MAX_TIMES = 4096
_TENANTS = ("org", "company")
_KEPT_APART = frozenset(ATTRIBUTES) - {"node", "time", *_TENANTS}
_QUALITIES = ("synced", "backfilled", "unknown")
_EXT_NAMES = frozenset(field.means for field in EXT_FIELDS if field.means)
# Keys that `_extension` does not read and `decode` does; any other is ignored by both.
_RARE = frozenset(field.name for field in EXT_FIELDS if "." not in field.name) - {
    "boot",
    "seq",
    "ms",
    "q",
    "also",
}

_parse_utc = lru_cache(MAX_TIMES)(parse_utc)


class Unsure(Exception):
    """Not for the quick way; it may be right or wrong."""


class QuickReading:
    """Decodes one message of a dialect that carries a reading; see `of`."""

    def __init__(
        self,
        dialect: Dialect,
        values: Callable[[dict[str, Any]], dict[str, Any]],
        others: Sequence[tuple[str, str]],
    ) -> None:
        self._dialect = dialect.name
        self._others = tuple(others)
        self._options = dict(dialect.options)
        self._values = values

    @classmethod
    def of(
        cls, dialect: Dialect, message: Message, others: Sequence[tuple[str, str]] = ()
    ) -> QuickReading | None:
        """None for a message that has no quick way.

        `others`: (field, word) by which other messages on its topic are known.
        """
        if message.kind != "reading" or message.sender != "node" or message.when is not None:
            return None
        values = _compiled(message.fields)
        return None if values is None else cls(dialect, values, others)

    def read(self, names: Mapping[str, str], payload: bytes, received_at: float) -> Reading:
        """The reading in a payload; `names` is what its topic says. Raises Unsure."""
        if len(payload) > MAX_PAYLOAD or payload.count(b"{") + payload.count(b"[") > MAX_DEPTH:
            raise Unsure
        try:
            # NaN may stand in a key that is passed over, and is no JSON there either.
            obj = from_json(payload, allow_inf_nan=False)
        except ValueError:
            raise Unsure from None
        if type(obj) is not dict:
            raise Unsure
        for field, word in self._others:
            if obj.get(field) == word:
                raise Unsure
        ext = obj.pop(EXT, None)
        values = self._values(obj)
        provenance = NO_PROVENANCE
        if ext is not None:
            provenance = _extension(ext, values)
        node = names.get("node")
        said = values.pop("node", node)
        if said is None or (node is not None and said != node):
            raise Unsure
        if node is None and not is_level(said):
            raise Unsure
        node = said
        tenant = {}
        for name in _TENANTS:
            said = names.get(name)
            if values.pop(name, said) != said or self._options.get(name, said) != said:
                raise Unsure
            if said is not None:
                tenant[name] = said
        time = values.pop("time", None)
        attributes = {}
        for name in _KEPT_APART:
            if name in values:
                attributes[name] = values.pop(name)
        if not values:
            raise Unsure
        return Reading(
            node, self._dialect, values, time, received_at, provenance, tenant, attributes
        )


def _extension(ext: Any, values: dict[str, Any]) -> Provenance:
    """Who, when and how it was measured; quantities beyond the document go into `values`."""
    if type(ext) is not dict:
        raise Unsure
    get = ext.get
    boot, seq, ms, quality = get("boot"), get("seq"), get("ms"), get("q")
    if type(boot) is not str or len(boot) > 32 or quality not in _QUALITIES:
        raise Unsure
    for number in (seq, ms):
        if type(number) is not int or not 0 <= number <= MAX_NUMBER:
            raise Unsure
    if len(ext) > 4:
        if not _RARE.isdisjoint(ext):
            raise Unsure
        also = get("also")
        if also is None:
            return Provenance(boot, seq, ms, quality)
        if type(also) is not dict:
            raise Unsure
        for name, value in also.items():
            if (
                (type(value) is not float and type(value) is not int)
                or not -MAX_NUMBER <= value <= MAX_NUMBER
                or not 0 < len(name) <= MAX_STRING
                or name in _EXT_NAMES
                or name in ATTRIBUTES
                or name == "*"
            ):
                raise Unsure
            values.setdefault(name, value)
    return Provenance(boot, seq, ms, quality)


def _compiled(fields: tuple[Field, ...]) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """`schema.read` for one table, None for a table with what is not known here."""
    source = _Source(fields)
    lines = source.level("obj", "", 1)
    if lines is None:
        return None
    text = "\n".join(["def values(obj):", "    out = {}", *lines, "    return out"])
    exec(compile(text, "<fields>", "exec"), source.names)
    made: Callable[[dict[str, Any]], dict[str, Any]] = source.names["values"]
    return made


class _Source:
    """Python for a table; `names` are the objects it speaks of."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.names: dict[str, Any] = {"Unsure": Unsure, "parse_utc": _parse_utc}
        self._fields = fields
        self._count = 0

    def level(self, obj: str, prefix: str, depth: int) -> list[str] | None:
        """The lines that read the fields directly below `prefix` from `obj`."""
        pad = "    " * depth
        count = self._name()
        lines = [f"{pad}{count} = 0"]
        wild: list[str] = []
        known: set[str] = set()
        for field in self._fields:
            rest = field.name.removeprefix(prefix)
            if not field.name.startswith(prefix) or "." in rest:
                continue
            if rest == "*":
                if field.type != "number" or field.means or field.values is not None:
                    return None
                if field.scale != 1 or field.lo is not None or field.hi is not None:
                    return None
                wild = self._wild(obj, count, known, depth)
                continue
            known.add(rest)
            value = self._name()
            lines.append(f"{pad}{value} = {obj}.get({rest!r})")
            if field.required:
                lines.append(f"{pad}if {value} is None: raise Unsure")
                inner = depth
            else:
                lines.append(f"{pad}if {value} is not None:")
                inner = depth + 1
            read = self._field(field, value, not prefix, inner)
            if read is None:
                return None
            lines += [f"{'    ' * inner}{count} += 1", *read]
        # A null, or a key that is in no table.
        return [*lines, *wild, f"{pad}if {count} != len({obj}): raise Unsure"]

    def _wild(self, obj: str, count: str, known: set[str], depth: int) -> list[str]:
        """The lines that read an open map's numbers, under names of their own."""
        names, taken = self._name(), self._name()
        self.names[names] = known  # filled when the level has been read
        self.names[taken] = {field.means for field in self._fields} | {"*", ""}
        bad = (
            f"key in {taken} or key in out or len(key) > {MAX_STRING}"
            " or (type(value) is not float and type(value) is not int)"
            f" or not {-MAX_NUMBER} <= value <= {MAX_NUMBER}"
        )
        body = (
            f"if {count} != len({obj}):",
            f"    for key, value in {obj}.items():",
            f"        if key in {names}: continue",
            f"        if {bad}: raise Unsure",
            "        out[key] = value",
            f"        {count} += 1",
        )
        return ["    " * depth + line for line in body]

    def _field(self, field: Field, value: str, top: bool, depth: int) -> list[str] | None:
        pad = "    " * depth
        checks: list[str] = []
        lines: list[str] = []
        result = value
        inner: list[str] = []
        if field.type in ("number", "int", "epoch"):
            if field.values is not None:
                return None
            kinds = f"type({value}) is not int"
            if field.type == "number":
                kinds += f" and type({value}) is not float"
            low = -MAX_NUMBER if field.lo is None else max(field.lo, -MAX_NUMBER)
            high = MAX_NUMBER if field.hi is None else min(field.hi, MAX_NUMBER)
            checks = [f"({kinds})", f"not {low!r} <= {value} <= {high!r}"]
            if field.scale != 1:
                result = f"{value} * {field.scale!r}"
        elif field.type == "string":
            checks = [
                f"type({value}) is not str",
                f"not {field.lo or 0} <= len({value}) <= {field.hi or MAX_STRING}",
            ]
            if field.values is not None:
                return None
            if field.const is not None:
                checks.append(f"{value} != {field.const!r}")
            if field.prefix:
                result = f"{value}.removeprefix({field.prefix!r})"
        elif field.type == "time":
            checks = [f"type({value}) is not str"]
            lines = [
                f"{pad}try: {value} = parse_utc({value})",
                f"{pad}except ValueError: raise Unsure from None",
            ]
        elif field.type == "object":
            checks = [f"type({value}) is not dict"]
            children = [f for f in self._fields if f.name.startswith(field.name + ".")]
            if not children or field.means:
                return None
            read = self.level(value, field.name + ".", depth)
            if read is None:
                return None
            inner = read
        else:
            return None
        found = [f"{pad}if {' or '.join(checks)}: raise Unsure", *lines, *inner]
        if field.type == "object":
            return found
        name = field.means or (field.name if top and field.const is None else None)
        return found if name is None else [*found, f"{pad}out[{name!r}] = {result}"]

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"
