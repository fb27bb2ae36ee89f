"""Field tables: one description of a JSON object that both reads and writes it.

A table is a tuple of `Field`. Names are dotted paths as the documents print them
("sensors.ph"); "sensors.*" stands for every other key of `sensors`.
"""

from collections import OrderedDict

from .timestamps import format_utc, parse_utc

MAX_STRING = 256  # characters, unless a field says otherwise; the documents' longest is an URL
MAX_NUMBER = 10**15  # far over any quantity; keeps a 300-digit integer out of a database


class FieldError(ValueError):
    """A field that breaks its table. Attributes: `field` (dotted path), `reason`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__("%s: %s" % (field, reason))
        self.field = field
        self.reason = reason


class Field:
    """One field of a message.

    `type` is number, int, string, bool, time (ISO 8601 UTC), epoch (Unix seconds), list, object or
    any. `means` is the canonical name it carries. `lo` and `hi` bound a number's value, in the
    wire's unit, or a string's length. `values` lists the allowed words or maps each to its
    canonical value; with `open` others pass as they are. Canonical value = wire value * `scale`.
    """

    means = ""
    required = False
    unit = ""
    lo: "float | None" = None
    hi: "float | None" = None
    values: "tuple | dict | None" = None
    open = False
    scale = 1
    prefix = ""
    digits = 2
    const: "str | None" = None
    default: object = None
    doc = ""

    def __init__(self, name: str, type: str, **options: object) -> None:
        self.name = name
        self.type = type
        for key in options:
            if not hasattr(Field, key):
                raise TypeError("Field has no option %s" % key)
            setattr(self, key, options[key])

    def read(self, value: object) -> object:
        """The canonical value of a wire value. Raises ValueError with the reason."""
        kind = self.type
        if kind == "number" or kind == "int" or kind == "epoch":
            value = self._number(value)
            if self.scale != 1 and self.values is None:
                return value * self.scale
        elif kind == "string" or kind == "time":
            if not isinstance(value, str):
                raise ValueError("is %s, not a string" % kind_of(value))
            if kind == "time":
                return parse_utc(value)
            if not (self.lo or 0) <= len(value) <= (self.hi or MAX_STRING):
                raise ValueError("is a string of %d characters" % len(value))
            if self.const is not None and value != self.const:
                raise ValueError("is %r, not %r" % (value, self.const))
            if self.prefix and value.startswith(self.prefix):
                return value[len(self.prefix) :]
        elif kind == "bool":
            if not isinstance(value, bool):
                raise ValueError("is %s, not true or false" % kind_of(value))
        elif kind == "object":
            if not isinstance(value, dict):
                raise ValueError("is %s, not an object" % kind_of(value))
        elif kind == "list":
            if not isinstance(value, list):
                raise ValueError("is %s, not a list" % kind_of(value))
        elif isinstance(value, float):
            self._number(value)
        words = self.values
        if words is None or (self.open and value not in words):
            return value
        if value not in words:
            raise ValueError(
                "is %r, not one of %s" % (value, ", ".join([str(word) for word in words]))
            )
        return words[value] if isinstance(words, dict) else value

    def _number(self, value: object) -> "int | float":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError("is %s, not a number" % kind_of(value))
        if value - value != 0:  # NaN where it is NaN or infinite
            raise ValueError("is not a finite number")
        if not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise ValueError("is too large a number")
        if self.type == "int" or self.type == "epoch":
            if int(value) != value:
                raise ValueError("is %s, not a whole number" % value)
            value = int(value)
        if self.lo is not None and value < self.lo:
            raise ValueError("%s is below %s" % (value, self.lo))
        if self.hi is not None and value > self.hi:
            raise ValueError("%s is above %s" % (value, self.hi))
        return value

    def write(self, value: object) -> object:
        """The wire value of a canonical value. Raises ValueError with the reason."""
        wire = value
        if isinstance(self.values, dict):
            for word in self.values:
                if self.values[word] == value:
                    wire = word
                    break
        elif isinstance(value, bool):
            pass
        elif self.type == "number" and isinstance(value, (int, float)):
            if self.scale != 1:
                wire = value / self.scale
            # A float is rounded here because the ESP32's single precision prints 24.3 as such
            # only when nothing smaller is in it.
            if isinstance(wire, float) and -MAX_NUMBER <= wire <= MAX_NUMBER:
                wire = rounded(wire, self.digits) if self.digits else int(round(wire))
        elif self.type == "int" and isinstance(value, (int, float)):
            if -MAX_NUMBER <= value <= MAX_NUMBER:
                wire = value // self.scale if self.scale != 1 else int(round(value))
        elif self.type == "time" and isinstance(value, int):
            return format_utc(value)
        elif self.prefix:
            wire = self.prefix + str(value)
        self.read(wire)
        return wire


def rounded(value: float, digits: int) -> float:
    """`value` to `digits` decimals, and printed with no more of them.

    In single precision MicroPython 1.24 prints 0.96 as 0.9599999, and the float next to it as 0.96.
    """
    value = round(value, digits)
    if -1 < value < 1:
        for near in (value, value + value * 6e-8, value - value * 6e-8):
            if len(str(near)) <= digits + 3:
                return near
    return value


def kind_of(value: object) -> str:
    """What JSON calls the type of `value`, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, dict) else "a list"


def is_level(text):
    """Whether `text` can be one level of a topic."""
    for char in "/+#\0":
        if char in text:
            return False
    return text != ""


def read(obj: dict, fields: tuple) -> dict:
    """Canonical name -> value of a JSON object.

    Raises FieldError for a field that is unknown, missing, of the wrong type or out of range.
    An optional field that is null counts as absent.
    """
    table = {}
    for field in fields:
        table[field.name] = field
    values: "dict[str, object]" = {}
    seen: "set[str]" = set()
    _walk(obj, "", "", table, values, seen)
    for field in fields:
        if field.required and field.name not in seen:
            dot = field.name.rfind(".")
            if dot < 0 or field.name[:dot] in seen or field.name[:dot] not in table:
                raise FieldError(field.name, "is required")
    return values


def _walk(obj, pattern, path, table, values, seen, spread=True):
    # `spread`: the keys of an open map are values of their own; else the map is one value.
    for key in obj:
        value = obj[key]
        name = pattern + key
        here = path + key
        field = table.get(name)
        wild = field is None or key == "*"
        if wild:
            name = pattern + "*"
            field = table.get(name)
            if field is None:
                raise FieldError(here, "is not a field of this message")
            if not 0 < len(key) <= MAX_STRING:
                raise FieldError(here, "is not a name")
        if value is None:
            continue
        seen.add(name)
        children = name + "."
        inner = False
        for other in table if isinstance(value, dict) else ():
            if other.startswith(children):
                inner = True
                break
        try:
            read_value = field.read(value)
        except ValueError as error:
            raise FieldError(here, str(error)) from None
        if inner:
            _walk(value, children, here + ".", table, values, seen, spread and not field.means)
            if not field.means:
                continue
        if wild and field.type != "object":
            for other in table.values():
                if other.means == key:
                    raise FieldError(here, "is called %s in this message" % other.name)
        if field.means:
            values[field.means] = read_value
        elif wild:
            if spread:
                values[key] = read_value
        elif not pattern and field.const is None:
            values[field.name] = read_value


def write(values: dict, fields: tuple) -> "tuple[OrderedDict, set]":
    """(JSON object in the table's order, canonical names it carries).

    Raises FieldError for a value the table refuses; a required field without one is found by
    `read`, which every encoder calls on its own output.
    """
    out: "OrderedDict[str, object]" = OrderedDict()
    used = set()
    for field in fields:
        value = field.const if field.const is not None else values.get(field.means)
        if value is None or field.name.endswith("*"):
            continue
        try:
            _put(out, field.name, field.write(value))
        except ValueError as error:
            raise FieldError(field.name, str(error)) from None
        used.add(field.means)
    return out, used


def _put(obj: dict, name: str, value: object) -> None:
    parts = name.split(".")
    for part in parts[:-1]:
        if part not in obj:
            obj[part] = OrderedDict()
        obj = obj[part]
    obj[parts[-1]] = value


def put_wild(obj: dict, field: Field, name: str, value: object) -> None:
    """Store `value` under `name` where the wildcard `field` ("extra.*") stands."""
    try:
        _put(obj, field.name[:-1] + name, field.write(value))
    except ValueError as error:
        raise FieldError(field.name[:-1] + name, str(error)) from None


def under(prefix: str, params: tuple) -> tuple:
    """`params` as fields of the whole command message."""
    if not prefix:
        return params
    out = []
    for field in params:
        copy = Field(prefix + "." + field.name, field.type)
        for option in (
            "means",
            "required",
            "unit",
            "lo",
            "hi",
            "values",
            "scale",
            "digits",
            "open",
        ):
            value = getattr(field, option)
            if value != getattr(Field, option):
                setattr(copy, option, value)
        out.append(copy)
    return tuple(out)
