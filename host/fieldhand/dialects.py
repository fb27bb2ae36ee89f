"""The dialects there are, as a host sees them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import fieldproto.dialects
from fieldhand.errors import FieldhandError, did_you_mean
from fieldproto.dialect import Dialect


def names() -> tuple[str, ...]:
    """The names of all dialects, sorted: one for every module of `fieldproto.dialects`."""
    found = pkgutil.iter_modules(fieldproto.dialects.__path__)
    return tuple(sorted(module.name for module in found if not module.name.startswith("_")))


def load(name: str, options: Mapping[str, Any] | None = None, extras: bool = True) -> Dialect:
    """A dialect bound to its options; with None it hears every tenant. Raises FieldhandError."""
    check_name(name)
    try:
        return fieldproto.dialects.load(name, None if options is None else dict(options), extras)
    except ValueError as error:
        raise FieldhandError(str(error)) from None


@cache
def unbound(name: str) -> Dialect:
    """The dialect with its tenants left open; to look into, not to send with."""
    return load(name)


def check_name(name: str) -> None:
    """Raise FieldhandError unless there is a dialect called `name`."""
    known = names()
    if name not in known:
        raise FieldhandError(
            f"unknown dialect '{name}'{did_you_mean(name, known)}; dialects: {', '.join(known)}"
        )
