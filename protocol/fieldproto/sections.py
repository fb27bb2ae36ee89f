"""The parts of node.json: checked, nulls dropped, defaults filled in."""

from .schema import FieldError, read

MAX_RUN_S = 86400  # a longer actuation is a mistake, not a plan


def section(obj, fields):
    """A deep enough copy of `obj` without nulls and with defaults."""
    read(obj, fields)
    out = _copy(obj)
    for field in fields:
        if field.default is None:
            continue
        head, dot, tail = field.name.partition(".")
        if not dot:
            out.setdefault(head, field.default)
        elif head in out:
            out[head].setdefault(tail, field.default)
    return out


def sections(config, key, fields):
    """The checked tables of the list `key`, which they replace."""
    entries = config.setdefault(key, [])
    for i in range(len(entries)):
        where = "%s[%d]" % (key, i)
        if not isinstance(entries[i], dict):
            raise FieldError(where, "is not an object")
        try:
            entries[i] = section(entries[i], fields)
        except FieldError as error:
            raise FieldError(where + "." + error.field, error.reason) from None
    return entries


def _copy(value):
    if isinstance(value, dict):
        return {key: _copy(value[key]) for key in value if value[key] is not None}
    if isinstance(value, list):
        return [_copy(entry) for entry in value]
    return value
