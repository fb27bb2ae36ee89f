"""What must not be done now, whoever asks for it.

Smart Farming's document, "STEP 2: Backend Safety Check": `if action == "fertilization" and value ==
True: if wind_speed > 20: raise HTTPException(status_code=403)`. It does not say what holds when
the wind is not known. Here that blocks too, as does a wind measured too long ago: fertilizer that
drifts cannot be called back. A farm without an anemometer sets `wind_unknown_blocks` to false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from fieldhand.errors import FieldhandError
from fieldhand.service.settings import ServiceSettings
from fieldhand.service.store import readings
from fieldhand.service.store.nodes import NodeRow

# The document's limit, in km/h.
WIND_LIMIT_KMH = 20.0
# Readings looked through for one with the wind in it: it is an optional field.
LOOKED_THROUGH = 50


class Blocked(FieldhandError):
    """A command that must not be sent now. `reason` says why."""

    def __init__(self, node: str, action: str, reason: str) -> None:
        super().__init__(f"node '{node}': {action} is blocked: {reason}")
        self.node = node
        self.action = action
        self.reason = reason


def check(
    connection: sa.Connection,
    settings: ServiceSettings,
    node: NodeRow,
    action: str,
    params: Mapping[str, Any],
    now: float,
) -> None:
    """Raises Blocked for a command that must not be sent to this node at `now` (Unix seconds)."""
    if node.dialect == "farm" and action == "fertilization" and params.get("state") == 1:
        reason = _too_windy(connection, settings, node, now)
        if reason is not None:
            raise Blocked(node.name, action, reason)


def _too_windy(
    connection: sa.Connection, settings: ServiceSettings, node: NodeRow, now: float
) -> str | None:
    for row in readings.history(connection, node.id, limit=LOOKED_THROUGH, newest_first=True):
        wind = row["quantities"].get("wind_speed")
        if wind is None:
            continue
        # Of a clock that is ahead only the time of arrival is to be believed.
        age = now - min(row["at"], row["received"])
        if age > settings.wind_max_age_s:
            return _unknown(settings, f"the wind was last measured {age:.0f} s ago")
        if wind > WIND_LIMIT_KMH:
            return f"wind {wind:g} km/h is above {WIND_LIMIT_KMH:g} km/h"
        return None
    return _unknown(settings, "the wind is not known: no reading has it")


def _unknown(settings: ServiceSettings, why: str) -> str | None:
    return why if settings.wind_unknown_blocks else None
