"""The API's reference in a browser: Swagger UI, from this machine and without inline script."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

# The distribution that brings Swagger UI's files along.
PACKAGE = "fastapi_swagger"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fieldhand: API</title>
<link rel="stylesheet" href="docs/files/swagger-ui.css">
<link rel="icon" href="docs/files/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# Logged in with the cookie, a change needs the session's CSRF word: ask for it once.
_START = """\
let csrf = null;
const mine = async () => {
  if (csrf === null) {
    const answer = await fetch("me");
    csrf = (answer.ok && (await answer.json()).csrf) || "";
  }
  return csrf;
};
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  filter: true,
  persistAuthorization: false,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  requestInterceptor: async (request) => {
    if (!["GET", "HEAD"].includes(request.method ?? "GET")) {
      request.headers["X-CSRF-Token"] = await mine();
    }
    return request;
  },
});
"""


def install(app: FastAPI) -> None:
    """/docs shows what /openapi.json says."""

    @app.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE)

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    folder = str(files(PACKAGE) / "resources")
    app.mount("/docs/files", StaticFiles(directory=folder), name="docs")
