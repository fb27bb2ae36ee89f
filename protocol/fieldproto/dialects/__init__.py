"""The wire dialects, a module each. A new one is a new file here; nothing else names them."""

from ..dialect import Dialect


def load(name: str, options: "dict | None" = None, extras: bool = True) -> Dialect:
    """The dialect `name`, bound to its options ({"org": "org-123"}).

    With `options` None any tenant is heard, as a host does that listens to all. `extras` adds
    the extension key to what is encoded. Raises ValueError for an unknown dialect or option.
    """
    try:
        spec = __import__("fieldproto.dialects." + name, None, None, ("MESSAGES",))
    except ImportError:
        raise ValueError("dialect %s is unknown" % name) from None
    return Dialect(name, spec, options, extras)
