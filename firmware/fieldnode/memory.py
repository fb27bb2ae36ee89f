"""What is rarely needed is loaded for it, then forgotten: code on a stock image is in the heap."""

import gc
import sys


def load(name):
    """The module `name`. Raises MemoryError."""
    # A collection in the middle of an import leaves holes that the rest of it does not fit: a
    # MemoryError with half the heap free. So there is one before each.
    gc.collect()
    return __import__(name, None, None, ("*",))


def forget(package, *modules):
    """Drop modules of `package`, of which nothing is in use any more."""
    for name in modules:
        module = sys.modules.pop(package + "." + name, None)
        if module:
            delattr(sys.modules[package], name)
            # The collector takes any word on the stack for a pointer. One stale word that points
            # to a function would keep its module, and all that imported.
            module.__dict__.clear()
