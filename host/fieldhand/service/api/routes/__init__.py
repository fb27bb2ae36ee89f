"""The routes, a module per subject; each has a `router`."""

from __future__ import annotations

from fastapi import APIRouter

from fieldhand.service.api.routes import (
    agronomy,
    commands,
    deadletters,
    dialects,
    documents,
    events,
    gaps,
    health,
    live,
    login,
    metrics,
    nodes,
    organisations,
    tokens,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
    login.router,
    tokens.router,
    organisations.router,
    nodes.router,
    dialects.router,
    commands.router,
    agronomy.router,
    documents.router,
    events.router,
    gaps.router,
    deadletters.router,
    live.router,
)
