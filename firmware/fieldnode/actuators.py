"""The names of relay.py and led.py, until all who import them from here have moved."""

from .led import Led  # noqa: F401
from .relay import Refused, Relay  # noqa: F401
