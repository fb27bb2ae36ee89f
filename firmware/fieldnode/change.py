"""Changing what is in force from afar, and taking back what cuts the node off. Loaded for it."""

from micropython import const

from . import log
from .actions import sensor_of
from .configuration import merged
from .relay import Refused
from .settings import FILE
from .trial import CONFIRM_MS, REVERT_BOOTS, REVERT_MS

# A change of these may cut the node off. It is on trial: the node connects with it at once.
CONNECTION = ("keepalive_s",)
_ANSWER_MS = const(3000)  # so long the reconnecting waits for answers to be acknowledged
_RANGES = {"interval_ms": (1000, 86400000), "keepalive_s": (5, 65535)}


def change(now, settings):
    """As Configuration.change; `now` is the Configuration."""
    changes = dict(settings)
    sensors = not now.node.commands.safe  # safe mode has none to ask
    for key in ("calibration", "alerts"):
        if key in changes:
            quantity = now.node.dialect.quantity
            part = changes[key]
            # A null leaves what is there, as everywhere.
            changes[key] = {quantity(word): part[word] for word in part if part[word] is not None}
    for name in changes.get("calibration", {}):
        from fieldproto.calibration import check_calibration  # rare

        if sensors:
            sensor_of(now.node, name)
        check_calibration(changes["calibration"][name], name)
    if "alerts" in changes:
        from fieldproto.bands import check_band  # rare

        told = changes["alerts"]
        changes["alerts"] = merged(now.settings.get("alerts", {}), told)
        bands = merged(now.config.get("alerts", {}), changes["alerts"])
        for name in told:
            if sensors and not now.node.dialect.allows("reading", name, 0):
                sensor_of(now.node, name)
            check_band(bands[name], "alert threshold of %s" % name)
    for key in _RANGES:
        low, high = _RANGES[key]
        if not low <= changes.get(key, low) <= high:
            raise Refused("%s: %s is not from %d to %d" % (key, changes[key], low, high))
    settings = now.settings
    values, trial = settings.values, settings.trial
    trying = False
    for key in CONNECTION:
        if key in changes and changes[key] != getattr(now, key):
            trying = True
    settings.update(changes, trying)
    try:
        now.apply()
    except Exception as error:  # all or nothing, whatever it is
        _store(now, values, trial)
        now.apply()
        raise Refused("cannot be applied: %r" % error)
    if trying:
        now.began_ms = now.clock.ms()
        now.up_ms = None
        now.dial = True
    log.info("configured: %s" % ", ".join(sorted(changes)))


def step(now):
    """Confirm or take back what is on trial."""
    node, ms = now.node, now.clock.ms()
    if now.dial:
        if node.notices.replies() and ms - now.began_ms < _ANSWER_MS:
            return
        now.dial = False
        node.link.reconnect()
    if not node.link.up:
        now.up_ms = None
        if ms - now.began_ms >= REVERT_MS:
            _revert(now, "no connection held for %d s with" % (CONFIRM_MS // 1000))
    elif now.up_ms is None:
        now.up_ms = ms
    elif ms - now.up_ms >= CONFIRM_MS:
        _store(now, now.settings.values)
        log.info("the new configuration has proved itself")


def count_boot(now):
    """One more start with what is on trial."""
    trial = now.settings.trial
    boots = trial.get("boots")
    if not isinstance(boots, int) or boots >= REVERT_BOOTS:
        _revert(now, "%d starts brought no connection with" % REVERT_BOOTS)
    else:
        _store(now, now.settings.values, dict(trial, boots=boots + 1))


def _revert(now, why):
    old = now.settings.trial["old"]
    told = ["%s %s" % (key, now.settings.get(key)) for key in old if key in CONNECTION]
    text = "configuration taken back: %s %s" % (why, ", ".join(told))
    log.warning(text)
    now.node.notices.append("alert", {"severity": "warning", "message": text})
    _store(now, now.settings.before())
    now.apply()


def _store(now, values, trial=None):
    try:
        now.settings.replace(values, trial)
    except OSError as error:  # then the next boot has the same to do
        log.warning("%s: %s" % (FILE, error))
        now.settings.values, now.settings.trial = values, trial
