"""What is in force: node.json, and over it what was changed from afar and is kept."""

from . import log
from .actions import sensor_of
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
        self._node.alerts.bands = _merged(config.get("alerts", {}), get("alerts", {}))

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
        if "alerts" in changes:
            from fieldproto.bands import check_band  # rare

            told = changes["alerts"]
            changes["alerts"] = _merged(self.settings.get("alerts", {}), told)
            bands = _merged(self._config.get("alerts", {}), changes["alerts"])
            for name in told:
                check_band(bands[name], "alert threshold of %s" % name)
        self.settings.update(changes)
        self.apply()
        log.info("configured: %s" % ", ".join(sorted(changes)))


def _merged(bands, changes):
    """`bands` with `changes` over them, key by key; a null leaves what is there."""
    merged = dict(bands)
    for name in changes:
        band = changes[name]
        merged[name] = dict(merged.get(name, {}))
        merged[name].update({key: band[key] for key in band if band[key] is not None})
    return merged
