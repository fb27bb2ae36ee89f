"""What is in force: node.json, and over it what was changed from afar (change.py) and is kept."""

from . import log
from .memory import load
from .settings import FILE, Settings


class Configuration:
    """Applies settings to `node`'s sampler, sensors and alerts."""

    def __init__(self, node, config, clock):
        self.settings = Settings()
        self.keepalive_s = 0
        self.began_ms = clock.ms()  # of a trial, see change.py, or of its part since boot
        self.up_ms = None  # since when the connection on trial holds
        self.dial = False  # it is still to be made
        self.node = node
        self.config = config
        self.clock = clock
        self._provisioned = {}  # quantity -> (offset, scale)
        for sensor in node.sampler.sensors:
            for quantity in sensor.quantities:
                self._provisioned[quantity] = sensor.calibration(quantity)
        try:
            self.apply()
        except Exception as error:  # whatever a damaged file can hold: the node starts without it
            log.warning("%s is not used: %r" % (FILE, error))
            self.settings.values = {}
            self.settings.trial = None
            self.apply()
        if self.settings.trial:
            load("fieldnode.change").count_boot(self)

    def apply(self):
        """Take over what is in `settings`, over what node.json says."""
        config, get = self.config, self.settings.get
        sampler = self.node.sampler
        sampler.set_interval(get("interval_ms", config["interval_ms"]))
        self.keepalive_s = int(get("keepalive_s", config["broker"]["keepalive_s"]))
        calibration = get("calibration", {})
        for sensor in sampler.sensors:
            for quantity in sensor.quantities:
                told = calibration.get(quantity)
                if told:
                    sensor.apply_calibration(quantity, **told)
                elif sensor.calibration(quantity) != self._provisioned[quantity]:
                    sensor.apply_calibration(quantity, *self._provisioned[quantity])
        self.node.alerts.bands = merged(config.get("alerts", {}), get("alerts", {}))

    def step(self):
        """Confirm or take back what is on trial."""
        if self.settings.trial is not None:
            load("fieldnode.change").step(self)

    def change(self, settings):
        """Apply a config update (canonical settings), all of it or nothing.

        One that concerns the connection is on trial. Raises Refused, ValueError, OSError.
        """
        load("fieldnode.change").change(self, settings)


def merged(bands, changes):
    """`bands` with `changes` over them, key by key; a null leaves what is there."""
    out = dict(bands)
    for name in changes:
        band = changes[name]
        out[name] = dict(out.get(name, {}))
        out[name].update({key: band[key] for key in band if band[key] is not None})
    return out
