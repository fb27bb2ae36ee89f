"""A small physical world: weather, soil, tank, pool, battery, cleaning machine.

Weather and chemistry run on world time, `day_s` real seconds a day; pumps and machines on real
time, so that 5 s of a 25 ml/s pump are 125 ml at any speed. Nothing here knows of nodes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Longest step the chemistry is integrated in, in hours of world time.
_STEP_H = 0.25
# A world left alone this long (h of world time) starts its drift anew from there.
_MAX_CATCH_UP_H = 24 * 30.0

# What an actuator can do to the world; `rate` is ml/s but for the cleaner, where it is m2/s.
EFFECTS = (
    "water",
    "fertilizer",
    "ph_down",
    "ph_up",
    "chlorine",
    "circulation",
    "cleaner",
    "none",
)
_FROM_TANK = ("water", "fertilizer", "cleaner")


@dataclass
class _Drive:
    effect: str
    rate: float
    on: bool = False


# Quantities that follow from others; setting one holds it until `release`.
_DERIVED = (
    "air_temperature",
    "relative_humidity",
    "luminosity",
    "pressure",
    "orp",
    "ec",
    "water_level",
    "flow_rate",
    "battery_voltage",
    "solar_voltage",
    "solar_current",
    "wind_speed",
    "vibration",
    "signal_strength",
)
# Quantities that are state; setting one changes it and it goes on from there.
_STATE = {
    "soil_moisture": 45.0,  # %
    "soil_temperature": 16.0,  # degrees C
    "water_temperature": 22.0,  # degrees C
    "ph": 7.4,
    "chlorine": 1.5,  # ppm
    "tds": 600.0,  # ppm
    "npk": 420.0,  # raw, 0-1023
    "battery_level": 80.0,  # %
    "tank_ml": 20000.0,
    "pumped_ml": 0.0,  # ever, from the tank
    "area": 0.0,  # m2 cleaned
    "energy": 0.0,  # Wh of the cleaning machine
    "water_used": 0.0,  # L of the cleaning machine
}
_SETTINGS = {
    "tank_capacity_ml": 20000.0,
    "soil_capacity_ml": 2000.0,  # from bone dry to 100 %
    "soil_drying": 0.4,  # %/h of world time, doubled in full sun
    "soak_s": 2.0,  # how long water takes to reach the probe
    "pool_ml_per_ph": 400.0,  # ml of acid or base per pH step
    "pool_ml_per_ppm": 150.0,  # ml of chlorine solution per ppm
    "cleaner_w": 400.0,
    "cleaner_ml_per_s": 30.0,
    "battery_load": 1.2,  # %/h
    "battery_charge": 9.0,  # %/h in full sun
    "mean_temperature": 19.0,
    "day_range": 14.0,  # K between night and day
}


class _Physics:
    """The state and how it goes on; not thread-safe."""

    def __init__(self, now: float, speed: float, hour: float) -> None:
        self.values = {**_STATE, **_SETTINGS}
        self.held: dict[str, float] = {}
        self.drives: dict[Hashable, _Drive] = {}
        self.hours = hour  # of world time; the time of day is this modulo 24
        self.soaking_ml = 0.0  # poured and not yet at the probe
        self._last = now
        self._speed = speed

    def advance(self, now: float) -> None:
        seconds = now - self._last
        if seconds <= 0:
            return
        self._last = now
        self._pump(seconds)
        hours = min(seconds * self._speed / 3600, _MAX_CATCH_UP_H)
        while hours > 0:
            step = min(hours, _STEP_H)
            self._drift(step)
            hours -= step

    def set(self, name: str, value: float) -> None:
        if name == "water_level":
            self.values["tank_ml"] = value / 100 * self.values["tank_capacity_ml"]
        elif name == "battery_voltage":
            self.values["battery_level"] = min(max((value - 3.3) / 0.009, 0.0), 100.0)
        elif name in self.values:
            self.values[name] = value
        elif name in _DERIVED:
            self.held[name] = value
        else:
            raise AttributeError(f"World has no quantity or setting '{name}'")

    def flow(self) -> float:
        """What leaves the tank."""
        drives = self.drives.values()
        return sum(self._flow_of(d) for d in drives if d.effect in _FROM_TANK)

    def line_flow(self, keys: Collection[Hashable]) -> float:
        """What flows on a line that these actuators feed."""
        if "flow_rate" in self.held:
            return self.held["flow_rate"] * 1000 / 60
        return sum(self._flow_of(self.drives[key]) for key in keys if key in self.drives)

    def _flow_of(self, drive: _Drive) -> float:
        if not drive.on or (drive.effect in _FROM_TANK and self.values["tank_ml"] <= 0):
            return 0.0
        return self.values["cleaner_ml_per_s"] if drive.effect == "cleaner" else drive.rate

    def _pump(self, seconds: float) -> None:
        v = self.values
        wanted = self.flow() * seconds
        share = min(1.0, v["tank_ml"] / wanted) if wanted > 0 else 0.0
        v["tank_ml"] = max(0.0, v["tank_ml"] - wanted)
        v["pumped_ml"] += wanted * share
        poured = 0.0
        for drive in self.drives.values():
            if not drive.on:
                continue
            ml = drive.rate * seconds
            if drive.effect == "water":
                poured += ml * share
            elif drive.effect == "fertilizer":
                poured += ml * share
                v["npk"] = min(1023.0, v["npk"] + ml * share * 0.2)
                v["tds"] += ml * share * 0.05
            elif drive.effect == "ph_down":
                v["ph"] = max(0.0, v["ph"] - ml / v["pool_ml_per_ph"])
            elif drive.effect == "ph_up":
                v["ph"] = min(14.0, v["ph"] + ml / v["pool_ml_per_ph"])
            elif drive.effect == "chlorine":
                v["chlorine"] = min(20.0, v["chlorine"] + ml / v["pool_ml_per_ppm"])
            elif drive.effect == "cleaner":
                v["area"] += drive.rate * seconds
                v["energy"] += v["cleaner_w"] * seconds / 3600
                v["water_used"] += v["cleaner_ml_per_s"] * seconds * share / 1000
        # Water soaks in at the pace of what is still on its way: d/dt = poured - way / soak_s.
        share_left = math.exp(-seconds / v["soak_s"]) if v["soak_s"] > 0 else 0.0
        left = self.soaking_ml * share_left + poured * v["soak_s"] / seconds * (1 - share_left)
        arrived = self.soaking_ml + poured - left
        self.soaking_ml = left
        v["soil_moisture"] = min(100.0, v["soil_moisture"] + arrived / v["soil_capacity_ml"] * 100)

    def _drift(self, hours: float) -> None:
        v = self.values
        self.hours += hours
        sun = self._sun()
        air = self.get("air_temperature")

        def toward(name: str, goal: float, hours_to: float) -> None:
            v[name] += (goal - v[name]) * (1 - math.exp(-hours / hours_to))

        dry = v["soil_drying"] * (1 + sun) * max(0.2, air / 20)
        v["soil_moisture"] = max(0.0, v["soil_moisture"] - dry * hours)
        toward("soil_temperature", air, 12)
        toward("water_temperature", air + 2, 30)
        toward("ph", 8.2, 300)  # carbon dioxide leaves the water
        toward("chlorine", 0.0, 60 / (1 + 2 * sun))
        v["npk"] = max(0.0, v["npk"] - 0.15 * hours)
        charge = v["battery_charge"] * sun - v["battery_load"]
        v["battery_level"] = min(100.0, max(0.0, v["battery_level"] + charge * hours))

    def _sun(self) -> float:
        if "luminosity" in self.held:
            return min(1.0, max(0.0, self.held["luminosity"] / 100))
        return max(0.0, math.sin((self.hours % 24 - 6) / 12 * math.pi))

    def get(self, name: str) -> float:
        if name in self.held:
            return float(self.held[name])
        v = self.values
        if name in v:
            return float(v[name])
        if name not in _DERIVED:
            raise AttributeError(f"World has no quantity or setting '{name}'")
        hours = self.hours
        sun = self._sun()
        if name == "air_temperature":
            swing = math.cos((hours - 15) / 24 * 2 * math.pi)
            return float(v["mean_temperature"] + v["day_range"] / 2 * swing)
        if name == "relative_humidity":
            return min(98.0, max(15.0, 60 - 2.4 * (self.get("air_temperature") - 19)))
        if name == "luminosity":
            return 100 * sun
        if name == "pressure":
            return 1013 + 6 * math.sin(hours / 37)
        if name == "orp":
            free = max(v["chlorine"], 0.01)
            return 700 + 60 * math.log(free / 1.5) - 45 * (v["ph"] - 7.4)
        if name == "ec":
            return float(v["tds"] / 540)
        if name == "water_level":
            return float(100 * v["tank_ml"] / v["tank_capacity_ml"])
        if name == "flow_rate":
            return self.flow() * 60 / 1000
        if name == "battery_voltage":
            return 3.3 + 0.009 * float(v["battery_level"])
        if name == "solar_voltage":
            return 0.0 if sun == 0 else 14 + 4.5 * sun
        if name == "solar_current":
            return 2.2 * sun
        if name == "wind_speed":
            gust = 4 * math.sin(hours * 1.7) + 2 * math.sin(hours * 7.3 + 1)
            return max(0.0, 9 + gust)
        if name == "vibration":
            working = any(d.on for d in self.drives.values())
            return 0.35 if working else 0.02
        return -58 + 3 * math.sin(hours * 2.1)  # signal_strength


class World:
    """The world at one place; thread-safe.

    Read and set quantities as attributes (`world.soil_moisture = 20`), in the canonical units of
    `fieldproto.quantities`, plus `tank_ml`, `pumped_ml`. Setting one that follows from others
    (`air_temperature`, `luminosity`, ...) holds it until `release(name)`. Keyword arguments set
    quantities or settings (`tank_capacity_ml`, `soil_drying`, ...) at the start; an unknown name
    raises TypeError here and AttributeError later.

    `clock` returns real seconds, monotonic; `day_s` real seconds make a day that begins at
    `hour` o'clock.
    """

    _lock: threading.RLock
    _clock: Callable[[], float]
    _physics: _Physics

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        day_s: float = 600.0,
        hour: float = 9.0,
        **given: float,
    ) -> None:
        if not day_s > 0:
            raise ValueError(f"day_s: {day_s} is not above 0")
        put = super().__setattr__
        put("_lock", threading.RLock())
        put("_clock", clock)
        put("_physics", _Physics(clock(), 86400.0 / day_s, float(hour)))
        for name, value in given.items():
            try:
                setattr(self, name, value)
            except AttributeError as error:
                raise TypeError(str(error)) from None

    def __getattr__(self, name: str) -> float:
        if name.startswith("_"):
            raise AttributeError(name)
        with self._now() as physics:
            return physics.get(name)

    def __setattr__(self, name: str, value: float) -> None:
        with self._now() as physics:
            physics.set(name, float(value))

    @property
    def hour(self) -> float:
        """Time of day, 0 to 24."""
        with self._now() as physics:
            return physics.hours % 24

    def quantities(self) -> tuple[str, ...]:
        """Names of all that can be measured here."""
        return (*_STATE, *_DERIVED)

    def read(self, quantity: str) -> float | None:
        """Value of `quantity` now, None when this world has no such thing."""
        if quantity not in _STATE and quantity not in _DERIVED:
            return None
        with self._now() as physics:
            return physics.get(quantity)

    def release(self, *names: str) -> None:
        """Let held quantities follow the others again; without names all of them."""
        with self._now() as physics:
            for name in names or tuple(physics.held):
                physics.held.pop(name, None)

    def attach(self, key: Hashable, effect: str, rate: float) -> None:
        """Connect an actuator, off at first. `rate`: ml/s, for "cleaner" m2/s.

        Raises ValueError for an effect that is not in EFFECTS.
        """
        if effect not in EFFECTS:
            raise ValueError(f"effect '{effect}' is not one of {', '.join(EFFECTS)}")
        with self._now() as physics:
            physics.drives[key] = _Drive(effect, float(rate))

    def detach(self, key: Hashable) -> None:
        """Take the actuator away."""
        with self._now() as physics:
            physics.drives.pop(key, None)

    def switch(self, key: Hashable, on: bool) -> None:
        """Switch the actuator; raises KeyError when it is not attached."""
        with self._now() as physics:
            physics.drives[key].on = bool(on)

    def flow_ml_per_s(self, *keys: Hashable) -> float:
        """What leaves the tank now; with `keys` what flows on the line of these actuators, which
        is `flow_rate` while that is held."""
        with self._now() as physics:
            return physics.line_flow(keys) if keys else physics.flow()

    @contextmanager
    def _now(self) -> Iterator[_Physics]:
        with self._lock:
            self._physics.advance(self._clock())
            yield self._physics
