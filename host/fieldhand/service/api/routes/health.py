"""Whether the service lives (/healthz) and whether it does its work (/readyz)."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from fieldhand.service.api.deps import ServiceDep

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """`reason` says why readings are not being stored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "reason": None}]},
    )

    status: str
    reason: str | None = None


@router.get("/healthz")
async def healthz() -> Health:
    """The process is there and answers."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(service: ServiceDep, response: Response) -> Health:
    """Readings are being stored: connected to the broker, the database answers, and no lag.

    Told from what the service knows; nobody waits here for a database that hangs.
    """
    reason = service.ready
    if reason is not None:
        response.status_code = 503
        return Health(status="not ready", reason=reason)
    return Health(status="ok")
