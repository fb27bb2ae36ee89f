"""Files here are MicroPython: collected without importing them, run under the unix port."""

from plugins.micropython import (  # noqa: F401 - pytest finds hooks by name
    pytest_pycollect_makemodule,
    pytest_report_header,
)
