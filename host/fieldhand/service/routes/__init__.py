"""The routes, a module per subject; each has a `router`."""

from __future__ import annotations

from fastapi import APIRouter

from fieldhand.service.routes import commands, documents, health, live, nodes

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    nodes.router,
    commands.router,
    documents.router,
    live.router,
)
