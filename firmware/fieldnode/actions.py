"""What each action does. An action is a dialect's command by its canonical name."""

from .commands import ACCEPTED, DONE
from .memory import load
from .relay import Refused


class Actions:
    """A method for each action, called like it; there is nothing else here.

    Each gets the command, its canonical parameters and `at_end`, see `Commands.run`, and returns
    (state, data) of the answer, (None, None) when that comes later. Raises Refused.
    """

    def __init__(self, node, commands):
        self._node = node
        self._commands = commands

    def sample(self, command, params, at_end):
        self._node.sampler.sample_now()
        return DONE, None

    def actuate(self, command, params, at_end):
        wanted = params["actuator"]
        relay = self._node.actuator(wanted)
        if relay is None:
            raise Refused("this node has no actuator %s" % wanted)
        if not params["state"]:
            relay.off("stopped")
            self._node.sender.status_due()
            return DONE, {"state": 0, relay.name: 0}
        if at_end and params.get("duration_ms") is None and params.get("amount_ml") is None:
            raise Refused("a duration or an amount is required")
        lease = relay.lease_ms(params.get("duration_ms"), params.get("amount_ml"))
        amount = params.get("amount_ml")
        lease = relay.on(lease, "command", amount, command if at_end else None)
        self._node.sender.status_due()
        return ACCEPTED if at_end else DONE, {"state": 1, relay.name: 1, "duration_ms": lease}

    def set_interval(self, command, params, at_end):
        self._node.configuration.change({"interval_ms": params["interval_ms"]})
        return DONE, {"interval_ms": params["interval_ms"]}

    def restart(self, command, params, at_end):
        self._node.restart_after_replies()
        return DONE, None

    def ota(self, command, params, at_end):
        raise Refused("this firmware cannot update itself from an URL")

    def set_led(self, command, params, at_end):
        if self._node.led is None:
            raise Refused("this node has no LED")
        self._node.led.set(params["state"], params.get("brightness"))
        self._node.sender.status_due()
        return DONE, None

    def set_target(self, command, params, at_end):
        for part in self._node.parts:
            if hasattr(part, "set_target"):
                part.set_target(params["quantity"], params["value"])
                break
        else:
            raise Refused("this node does not dose %s" % params["quantity"])
        return DONE, {"value": params["value"]}

    def calibrate(self, command, params, at_end):
        quantity = self._node.dialect.quantity(params["sensor"])
        sensor = sensor_of(self._node, quantity)
        self._commands.calibrate(command, sensor, quantity, params["value"])
        return None, None

    def reset_config(self, command, params, at_end):
        self._node.configuration.settings.clear()
        self._node.restart_after_replies()
        return DONE, None

    def set_credentials(self, command, params, at_end):
        load("fieldnode.sentslot").take(self._node, params["credentials"])
        return DONE, {"credentials": "on trial"}


def sensor_of(node, quantity):
    """The sensor that measures `quantity`. Raises Refused."""
    for sensor in node.sampler.sensors:
        if quantity in sensor.quantities:
            return sensor
    raise Refused("no sensor measures %s" % quantity)
