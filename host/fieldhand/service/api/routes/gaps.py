"""Which readings of a node never arrived."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from fieldhand import gaps
from fieldhand.service.api.deps import NodeDep, ReadDb, ServiceDep
from fieldhand.service.store import arrived, nodes

router = APIRouter(tags=["nodes"])

DAY_S = 86_400.0


class GapOut(BaseModel):
    """The readings `first` to `last`, taken between the Unix times `after` and `before`."""

    first: int
    last: int
    count: int
    after: int | None
    before: int | None
    why: str | None


class BootOut(BaseModel):
    """One run of the firmware: so many readings `taken`, so many `received`.

    `dropped`, `unsendable` and `corrupt` are the node's own counts of what it lost.
    """

    boot: str
    first_heard: float
    last_heard: float
    taken: int
    received: int
    missing: list[GapOut]
    waiting: list[GapOut]
    dropped: int | None
    unsendable: int | None
    corrupt: int | None


class UnheardOut(BaseModel):
    """Boots of which nothing was heard, between those of which something was."""

    first: int
    last: int
    count: int


class GapsOut(BaseModel):
    """`complete`: nothing is missing; what waits on the node is not. Null: nobody can tell, and
    `reason` says why.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "complete": False,
                    "reason": None,
                    "recorded_since": 1780990000.0,
                    "received": 126,
                    "missing": 2,
                    "waiting": 0,
                    "boots": [
                        {
                            "boot": "3-9f2c61d0",
                            "first_heard": 1780990000.0,
                            "last_heard": 1781000000.4,
                            "taken": 128,
                            "received": 126,
                            "missing": [
                                {
                                    "first": 40,
                                    "last": 41,
                                    "count": 2,
                                    "after": 1780995000,
                                    "before": 1780995090,
                                    "why": None,
                                }
                            ],
                            "waiting": [],
                            "dropped": 0,
                            "unsendable": 0,
                            "corrupt": 0,
                        }
                    ],
                    "unheard_boots": [],
                }
            ]
        }
    )

    complete: bool | None
    reason: str | None = None
    recorded_since: float | None = None
    received: int = 0
    missing: int = 0
    waiting: int = 0
    boots: list[BootOut] = Field(default_factory=list)
    unheard_boots: list[UnheardOut] = Field(default_factory=list)


@router.get("/nodes/{node_id}/gaps", summary="What of a node is missing")
def node_gaps(
    node: NodeDep,
    connection: ReadDb,
    service: ServiceDep,
    days: Annotated[
        float, Query(gt=0, le=36_500, description="boots heard in the last so many days")
    ] = 30,
) -> GapsOut:
    """A node numbers its readings in each boot: what is not stored, and does not wait on it, is
    missing. The numbers come with Fieldhand's nodes only."""
    every = service.settings.store_every.get(node.dialect)
    if every:
        return GapsOut(complete=None, reason=f"only a reading every {every:g} s is stored")
    records = arrived.boots(
        connection,
        node,
        since=time.time() - days * DAY_S,
        trimmed=service.settings.keep_readings_days > 0,
    )
    if not records:
        return GapsOut(complete=None, reason="no numbered readings are stored of this time")
    key = nodes.key_of(node.dialect, node.tenant, node.name)
    return GapsOut.model_validate(gaps.assess(key, records).as_dict())
