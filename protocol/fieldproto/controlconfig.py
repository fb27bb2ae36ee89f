"""The tables of node.json that make a node act by itself: dosing loops and schedules."""

from .schema import Field as F
from .schema import FieldError
from .sections import MAX_RUN_S, sections
from .sensortypes import yields
from .timestamps import minute_of_day

DOSING_FIELDS = (
    F("quantity", "string", required=True, lo=1, hi=32),
    F("actuator", "string", required=True, lo=1, hi=32, doc="name of the dosing pump"),
    F("direction", "string", required=True, values=("up", "down"), doc="what a dose does"),
    F("target", "number", doc="absent: none until a command sets it"),
    F("deadband", "number", lo=0, default=0.1, doc="no dose this close to the target"),
    F("min", "number", required=True, doc="lowest target and plausible reading"),
    F("max", "number", required=True),
    F("dose_s", "int", required=True, lo=1, hi=600, unit="s"),
    F("mix_s", "int", required=True, lo=1, hi=86400, unit="s", doc="pause after each dose"),
    F("flow_min", "number", lo=0, unit="L/min", doc="no dose while flow_rate is below"),
    F("silent_s", "int", lo=5, hi=86400, unit="s", default=300, doc="no dose on an older reading"),
)

SCHEDULE_FIELDS = (
    F("actuator", "string", required=True, lo=1, hi=32),
    F("run_s", "int", required=True, lo=1, hi=MAX_RUN_S, unit="s"),
    F("at", "list", doc="times of day, HH:MM"),
    F("when", "string", lo=1, hi=32, doc="a quantity; runs while it is below"),
    F("below", "number"),
    F("every_s", "int", lo=60, hi=604800, unit="s", default=3600, doc="pause of a when"),
)


def check(config):
    """Check `config`, the rest of which is checked, and fill in defaults. Raises FieldError."""
    _check_dosing(config, sections(config, "dosing", DOSING_FIELDS))
    _check_schedules(config, sections(config, "schedules", SCHEDULE_FIELDS))


def _actuator(config, where, name):
    for actuator in config["actuators"]:
        if actuator["name"] == name:
            return actuator
    raise FieldError(where + ".actuator", "there is no actuator %s" % name)


def _check_measured(config, where, quantity):
    if not any([quantity in yields(sensor) for sensor in config["sensors"]]):
        raise FieldError(where, "no sensor measures %s" % quantity)


def _check_dosing(config, loops):
    for i, loop in enumerate(loops):
        where = "dosing[%d]" % i
        pump = _actuator(config, where, loop["actuator"])
        if "daily_run_s" not in pump and "daily_ml" not in pump:
            raise FieldError(where + ".actuator", "%s needs daily_run_s or daily_ml" % pump["name"])
        if loop["dose_s"] > pump["max_run_s"]:
            raise FieldError(where + ".dose_s", "is over max_run_s of %s" % pump["name"])
        if "flow_min" in loop:
            _check_measured(config, where + ".flow_min", "flow_rate")
        _check_measured(config, where + ".quantity", loop["quantity"])
        if not loop["min"] < loop["max"]:
            raise FieldError(where + ".min", "is not below max")
        if not loop["min"] <= loop.get("target", loop["min"]) <= loop["max"]:
            raise FieldError(where + ".target", "is not between min and max")


def _check_schedules(config, schedules):
    for i, schedule in enumerate(schedules):
        where = "schedules[%d]" % i
        pump = _actuator(config, where, schedule["actuator"])
        if schedule["run_s"] > pump["max_run_s"]:
            raise FieldError(where + ".run_s", "is over max_run_s of %s" % pump["name"])
        if ("at" in schedule) == ("when" in schedule):
            raise FieldError(where, "give one of at, when")
        if ("when" in schedule) != ("below" in schedule):
            raise FieldError(where, "when and below go together")
        if "when" in schedule:
            _check_measured(config, where + ".when", schedule["when"])
        for time in schedule.get("at", ()):
            if minute_of_day(time) is None:
                raise FieldError(where + ".at", "%r is not a time HH:MM" % (time,))
