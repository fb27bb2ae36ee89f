"""The web application before a `Service`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from fieldhand import errors
from fieldhand.service.routes import ROUTERS
from fieldhand.service.service import Service
from fieldhand.service.store.database import StoreError

# Which answer a FieldhandError becomes where no route says otherwise; the first that fits.
ANSWERS: tuple[tuple[type[errors.FieldhandError], int], ...] = (
    (errors.UnknownNode, 404),
    (errors.UnknownAction, 422),
    (errors.BadParameter, 422),
    (errors.BrokerUnavailable, 503),
    (StoreError, 503),
    (errors.CommandFailed, 409),
    (errors.CommandTimeout, 504),
    (errors.FieldhandError, 400),
)


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
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)

    @app.exception_handler(errors.FieldhandError)
    async def translated(request: Request, error: errors.FieldhandError) -> JSONResponse:
        status = next(code for kind, code in ANSWERS if isinstance(error, kind))
        return JSONResponse({"detail": str(error)}, status)

    return app


def _version() -> str:
    from importlib.metadata import version

    return version("fieldhand")
