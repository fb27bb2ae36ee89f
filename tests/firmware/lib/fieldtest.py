"""What a MicroPython test needs beyond `assert`."""

import os


class Skip(BaseException):
    """Not an Exception: a test's own `except Exception` must not swallow it."""


def raises(exc, fn, *args, **kwargs):
    """Call `fn`; return the `exc` it raises, fail when it raises none."""
    try:
        result = fn(*args, **kwargs)
    except exc as caught:
        return caught
    names = [e.__name__ for e in exc] if isinstance(exc, tuple) else [exc.__name__]
    raise AssertionError("%s not raised, got %r" % (" or ".join(names), result))


def skip(reason):
    """End the test here; pytest reports it as skipped with `reason`."""
    raise Skip(reason)


def root(path=""):
    """Absolute path of `path` in the repository; the working directory is a scratch one."""
    return os.getenv("FIELDHAND_ROOT") + "/" + path
