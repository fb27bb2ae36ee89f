"""JSON where the runtime is strict, as CPython is. A node never loads this."""

import json


def loads(text: str) -> object:
    """The value in `text`. Raises ValueError."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair raises
        return value
    except (ValueError, RuntimeError):
        raise ValueError("is not JSON") from None


def _refuse(constant: str) -> object:
    raise ValueError(constant)
