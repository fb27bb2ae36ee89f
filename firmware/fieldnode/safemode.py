"""Safe mode, after repeated crashes: the node listens, reports and moves nothing."""

from . import actions
from .relay import Refused


class Actions(actions.Actions):
    """Only what configures the node or restarts it, which ends safe mode."""

    def _refuse(self, command, params, at_end):
        raise Refused("safe mode")

    actuate = sample = set_led = set_target = calibrate = _refuse
