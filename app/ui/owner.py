"""Whose browser is this: a random name in a cookie, so that jobs and images belong to whoever asked for them."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "patchbay_owner"
YEAR = 365 * 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9_-]{16,64}")


def owner_of(connection: HTTPConnection) -> str:
    """The owner that a request or WebSocket names; empty if it carries none that we gave."""
    name = connection.cookies.get(COOKIE, "")
    return name if _NAME.fullmatch(name) else ""


def owner_cookie(app: ASGIApp) -> ASGIApp:
    """ASGI middleware: the first `GET /` of a browser is answered with its name.

    Use: `api.add_middleware(owner_cookie)`. The cookie cannot be read by scripts nor sent by other sites.
    """

    async def with_cookie(scope: Scope, receive: Receive, send: Send) -> None:
        opens_page = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in ("", "/")
        if not opens_page or owner_of(HTTPConnection(scope)):
            await app(scope, receive, send)
            return

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", _new_cookie(secure=scope["scheme"] == "https"))
            await send(message)

        await app(scope, receive, send_named)

    return with_cookie


def _new_cookie(*, secure: bool) -> str:
    answer = Response()
    answer.set_cookie(
        COOKIE, secrets.token_urlsafe(18), max_age=YEAR, httponly=True, samesite="strict", secure=secure, path="/"
    )
    return answer.headers["set-cookie"]
