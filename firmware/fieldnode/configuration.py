"""What is in force: node.json, and over it what was changed from afar and is kept."""

from micropython import const

from . import log
from .actions import sensor_of
from .relay import Refused
from .settings import FILE, Settings

# A change of these may cut the node off. It is on trial: the node connects with it at once, and
# takes it back unless a connection has held for CONFIRM_MS within REVERT_MS, or after
# REVERT_BOOTS starts without.
CONNECTION = ("keepalive_s",)
CONFIRM_MS = const(60000)
REVERT_MS = const(600000)
REVERT_BOOTS = const(3)
_ANSWER_MS = const(3000)  # so long the reconnecting waits for answers to be acknowledged
_RANGES = {"interval_ms": (1000, 86400000), "keepalive_s": (5, 65535)}


class Configuration:
    """Applies settings to `node`'s sampler, sensors and alerts."""

    def __init__(self, node, config, clock):
        self.settings = Settings()
        self.keepalive_s = 0
        self._node = node
        self._config = config
        self._clock = clock
        self._began_ms = clock.ms()  # of the trial, or of its part since boot
        self._up_ms = None  # since when the connection on trial holds
        self._dial = False  # it is still to be made
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
            self._count_boot()

    def apply(self):
        """Take over what is in `settings`, over what node.json says."""
        config, get = self._config, self.settings.get
        sampler = self._node.sampler
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
        self._node.alerts.bands = _merged(config.get("alerts", {}), get("alerts", {}))

    def step(self):
        """Confirm or take back what is on trial."""
        if self.settings.trial is None:
            return
        node, now = self._node, self._clock.ms()
        if self._dial:
            if node.notices.replies() and now - self._began_ms < _ANSWER_MS:
                return
            self._dial = False
            node.link.reconnect()
        if not node.link.up:
            self._up_ms = None
            if now - self._began_ms >= REVERT_MS:
                self._revert("no connection held for %d s with" % (CONFIRM_MS // 1000))
        elif self._up_ms is None:
            self._up_ms = now
        elif now - self._up_ms >= CONFIRM_MS:
            self._store(self.settings.values)
            log.info("the new configuration has proved itself")

    def _count_boot(self):
        trial = self.settings.trial
        boots = trial.get("boots")
        if not isinstance(boots, int) or boots >= REVERT_BOOTS:
            self._revert("%d starts brought no connection with" % REVERT_BOOTS)
        else:
            self._store(self.settings.values, dict(trial, boots=boots + 1))

    def _revert(self, why):
        old = self.settings.trial["old"]
        told = ["%s %s" % (key, self.settings.get(key)) for key in old if key in CONNECTION]
        text = "configuration taken back: %s %s" % (why, ", ".join(told))
        log.warning(text)
        self._node.notices.append("alert", {"severity": "warning", "message": text})
        self._store(self.settings.before())
        self.apply()

    def _store(self, values, trial=None):
        try:
            self.settings.replace(values, trial)
        except OSError as error:  # then the next boot has the same to do
            log.warning("%s: %s" % (FILE, error))
            self.settings.values, self.settings.trial = values, trial

    def change(self, settings):
        """Apply a config update (canonical settings), all of it or nothing.

        One that concerns the connection is on trial, see CONNECTION. Raises Refused, ValueError,
        OSError.
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
        for key in _RANGES:
            low, high = _RANGES[key]
            if not low <= changes.get(key, low) <= high:
                raise Refused("%s: %s is not from %d to %d" % (key, changes[key], low, high))
        settings = self.settings
        values, trial = settings.values, settings.trial
        trying = False
        for key in CONNECTION:
            if key in changes and changes[key] != getattr(self, key):
                trying = True
        settings.update(changes, trying)
        try:
            self.apply()
        except Exception as error:  # all or nothing, whatever it is
            self._store(values, trial)
            self.apply()
            raise Refused("cannot be applied: %r" % error)
        if trying:
            self._began_ms = self._clock.ms()
            self._up_ms = None
            self._dial = True
        log.info("configured: %s" % ", ".join(sorted(changes)))


def _merged(bands, changes):
    """`bands` with `changes` over them, key by key; a null leaves what is there."""
    merged = dict(bands)
    for name in changes:
        band = changes[name]
        merged[name] = dict(merged.get(name, {}))
        merged[name].update({key: band[key] for key in band if band[key] is not None})
    return merged
