"""The web application before a `Service`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from fieldhand.service.api import docs, openapi, page, problems
from fieldhand.service.api.guard import Guard
from fieldhand.service.api.routes import ROUTERS
from fieldhand.service.service import Service


def create_app(service: Service) -> FastAPI:
    """The application; whoever serves it starts the service before and stops it after."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.hub.bind(asyncio.get_running_loop())
        yield
        service.hub.close()

    app = FastAPI(
        title="Fieldhand",
        summary="Readings, commands and live streams of field nodes.",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, max_body=service.settings.max_body)
    problems.install(app)
    openapi.install(app)
    docs.install(app)
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    page.install(app)

    return app


def _version() -> str:
    from importlib.metadata import version

    return version("fieldhand")
