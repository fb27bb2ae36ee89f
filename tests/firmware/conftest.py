"""Files here are MicroPython: collected without importing them, run under the unix port."""

from plugins.micropython import pytest_pycollect_makemodule  # noqa: F401 - found by its name
