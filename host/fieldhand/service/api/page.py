"""The web page: files of `web/`, as they are."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "web"
# Kept, but asked for whether it is still the same: an upgrade is seen at once.
CACHING = {"Cache-Control": "no-cache"}


class _Files(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(CACHING)
        return response


def install(app: FastAPI) -> None:
    """/ is the page, /static/ what it is made of. It asks the routes for all else."""

    async def index(request: Request) -> Response:
        return FileResponse(FOLDER / "index.html", headers=CACHING)

    app.add_route("/", index, include_in_schema=False)
    app.mount("/static", _Files(directory=FOLDER), name="static")
