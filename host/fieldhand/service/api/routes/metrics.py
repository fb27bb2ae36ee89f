"""The service's figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from fieldhand.service.api.deps import ServiceDep

router = APIRouter(tags=["operations"])


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: ServiceDep, request: Request) -> Response:
    """Messages, latency, lag, outages, commands, live clients: Prometheus text, or OpenMetrics."""
    body, kind = service.metrics.text(request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": kind})
