"""What must not be done now, whoever asks for it.

Smart Farming's document, "STEP 2: Backend Safety Check": `if action == "fertilization" and value ==
True: if wind_speed > 20: raise HTTPException(status_code=403)`. It does not say what holds when
the wind is not known. Here that blocks too, as does a wind measured too long ago: fertilizer that
drifts cannot be called back. A farm without an anemometer sets `wind_unknown_blocks` to false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fieldhand.errors import FieldhandError
from fieldhand.records import Reading
from fieldhand.service import moments
from fieldhand.service.arrivals import Arrival
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import readings
from fieldhand.service.store.nodes import NodeRow
from fieldhand.service.store.window import Window

# The document's limit, in km/h.
WIND_LIMIT_KMH = 20.0
# Readings looked through for one with the wind in it: it is an optional field.
LOOKED_THROUGH = Window(limit=50)
QUANTITY = "wind_speed"


class Blocked(FieldhandError):
    """A command that must not be sent now. `reason` says why."""

    def __init__(self, node: str, action: str, reason: str) -> None:
        super().__init__(f"node '{node}': {action} is blocked: {reason}")
        self.node = node
        self.action = action
        self.reason = reason


class Winds:
    """The last wind that each farm told, also in readings that `store_every` leaves out."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[float, float]] = {}

    def store(self, connection: sa.Connection, arrivals: Sequence[Arrival]) -> None:
        pass

    def committed(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            event = arrival.event
            if isinstance(event, Reading) and event.dialect == "farm":
                wind = event.quantities.get(QUANTITY)
                if wind is not None and moments.credible(event.time, event.received_at):
                    at = moments.moment(event.time, event.received_at)
                    if at >= self._last.get(arrival.node.id, (at,))[0]:
                        self._last[arrival.node.id] = (at, wind)

    def of(self, node: NodeRow) -> tuple[float, float] | None:
        """(Unix seconds, km/h)."""
        return self._last.get(node.id)


def check(
    connection: sa.Connection,
    settings: ServiceSettings,
    winds: Winds,
    node: NodeRow,
    action: str,
    params: Mapping[str, Any],
    now: float,
) -> None:
    """Raises Blocked for a command that must not be sent to this node at `now` (Unix seconds)."""
    if node.dialect == "farm" and action == "fertilization" and params.get("state") == 1:
        reason = _too_windy(connection, settings, winds, node, now)
        if reason is not None:
            raise Blocked(node.name, action, reason)


def _too_windy(
    connection: sa.Connection, settings: ServiceSettings, winds: Winds, node: NodeRow, now: float
) -> str | None:
    known = [winds.of(node)]
    for row in readings.history(connection, node.id, LOOKED_THROUGH, newest_first=True):
        wind = row["quantities"].get(QUANTITY)
        # One whose clock is wrong may have waited on the node: it does not tell of the wind now.
        if wind is not None and moments.credible(row["time"], row["received"]):
            known.append((row["at"], wind))
    last = max((one for one in known if one is not None), default=None)
    if last is None:
        return _unknown(settings, "the wind is not known: no reading has it")
    at, wind = last
    if now - at > settings.wind_max_age_s:
        return _unknown(settings, f"the wind was last measured {now - at:.0f} s ago")
    if wind > WIND_LIMIT_KMH:
        return f"wind {wind:g} km/h is above {WIND_LIMIT_KMH:g} km/h"
    return None


def _unknown(settings: ServiceSettings, why: str) -> str | None:
    return why if settings.wind_unknown_blocks else None
