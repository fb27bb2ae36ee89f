"""Before every answer: headers that keep a browser safe. Before every request: a size limit."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldhand.service.api.problems import problem

# What a page of ours may do: run our scripts, talk to us, and nothing else. No inline script.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Told over https only, where a browser heeds it: a year.
TRANSPORT_POLICY = "max-age=31536000"
BROKEN = "something is broken in the service; its log has the rest"


class Guard:
    """ASGI middleware. `max_body`: bytes; a longer request is answered with 413."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app = app
        self._max = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "websocket.close" and not begun:
                # A refusal; the server's own answer would go out without the headers.
                reason = message.get("reason") or "there is no such WebSocket"
                await problem(403, reason)(scope, receive, guarded)
                return
            begun = True
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["scheme"] in ("https", "wss"):
                    headers.setdefault("Strict-Transport-Security", TRANSPORT_POLICY)
                if not scope["path"].startswith("/static/"):
                    # What is somebody's is not kept for the next who sits at the machine.
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            if scope["type"] == "websocket":
                await self._app(scope, receive, guarded)
            else:
                await self._request(scope, receive, guarded)
        except Exception:
            # Answered here: Starlette's own answer would go out without the headers. Whoever
            # serves the app logs what it was.
            if not begun:
                await problem(500, BROKEN)(scope, receive, guarded)
            raise

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if length.isdigit() and int(length) > self._max:
            await self._too_large()(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        """For a body whose length was not told, or told wrongly."""
        left = self._max

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:
                    raise HTTPException(413, self._reason)
            return message

        return counted

    def _too_large(self) -> ASGIApp:
        return problem(413, self._reason, {"Connection": "close"})

    @property
    def _reason(self) -> str:
        return f"the body is larger than {self._max} bytes"
