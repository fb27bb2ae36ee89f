"""The organisations whose nodes these are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from fieldhand.service.access import accounts
from fieldhand.service.api.deps import Operator, ReadDb, Reader, ServiceDep
from fieldhand.service.store import access as store
from fieldhand.service.store.access import MAX_NAME, Organisation

router = APIRouter(tags=["access"])


class NewOrganisation(BaseModel):
    """`id` is the word in its nodes' topics (DESE's org, solar's company), else any word."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"id": "farm_001", "name": "Sunny Side Farm"}]},
    )

    id: Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^/+#\x00]+$")]
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^\x00]+$")] | None = (
        None
    )


class OrganisationOut(BaseModel):
    """`created` null: only heard of from nodes, nobody added it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "farm_001",
                    "name": "Sunny Side Farm",
                    "created": 1780000000.0,
                    "nodes": 12,
                }
            ]
        }
    )

    id: str
    name: str
    created: float | None
    nodes: int


_TAKEN: dict[int | str, dict[str, Any]] = {
    409: {"description": "there is an organisation 'farm_001' already"}
}


@router.get("/organisations", summary="List organisations")
def list_organisations(caller: Reader, connection: ReadDb) -> list[OrganisationOut]:
    """All for the operator, else one's own; also those that only nodes speak of."""
    return [_told(one) for one in store.organisations(connection, caller.org)]


@router.post("/organisations", summary="Add an organisation", status_code=201, responses=_TAKEN)
def add_organisation(
    wanted: NewOrganisation, caller: Operator, service: ServiceDep
) -> OrganisationOut:
    """People and tokens can be of it then."""
    accounts.add_organisation(service.database, wanted.id, wanted.name)
    with service.database.reading() as connection:
        return _told(store.organisations(connection, wanted.id)[0])


def _told(one: Organisation) -> OrganisationOut:
    return OrganisationOut(id=one.id, name=one.name, created=one.created, nodes=one.nodes)
