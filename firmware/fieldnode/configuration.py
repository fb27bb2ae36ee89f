"""What is in force: node.json, and over it what was changed from afar and is kept."""

from . import log
from .actions import sensor_of
from .relay import Refused
from .settings import Settings


class Configuration:
    """Applies settings to `node`'s sampler, sensors and alerts."""

    def __init__(self, node, config):
        self.settings = Settings()
        self.keepalive_s = 0
        self._node = node
        self._config = config
        try:
            self.apply()
        except Exception as error:  # whatever a damaged file can hold: the node starts without it
            log.warning("settings.json is not used: %r" % error)
            self.settings.values = {}
            self.apply()

    def apply(self):
        """Take over what is in `settings`, over what node.json says."""
        config, get = self._config, self.settings.get
        sampler = self._node.sampler
        sampler.set_interval(get("interval_ms", config["interval_ms"]))
        self.keepalive_s = int(get("keepalive_s", config["broker"]["keepalive_s"]))
        calibration = get("calibration", {})
        for sensor in sampler.sensors:
            for quantity in sensor.quantities:
                if quantity in calibration:
                    sensor.apply_calibration(quantity, **calibration[quantity])
        self._node.alerts.bands = dict(config.get("alerts", {}), **get("alerts", {}))

    def change(self, settings):
        """Apply a config update (canonical settings), all of it or nothing.

        Raises Refused, ValueError, OSError.
        """
        changes = dict(settings)
        for key in ("calibration", "alerts"):
            if key in changes:
                quantity = self._node.dialect.quantity
                part = changes[key]
                changes[key] = {quantity(word): part[word] for word in part}
        for name in changes.get("calibration", {}):
            from fieldproto.calibration import check_calibration  # rare

            sensor_of(self._node, name)
            check_calibration(changes["calibration"][name], name)
        for name in changes.get("alerts", {}):
            band = changes["alerts"][name]
            if band.get("min") is not None and band.get("max") is not None:
                if band["min"] > band["max"]:
                    raise Refused("alert threshold of %s: min is above max" % name)
        self.settings.update(changes)
        self.apply()
        log.info("configured: %s" % ", ".join(sorted(changes)))
