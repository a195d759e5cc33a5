"""ASGI layers between the network and everything else: who may ask, from where, and what a page may load."""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORBIDDEN_SOCKET = 4403
FAILURE_SECONDS = 0.5
"""What a wrong password costs, so that guessing is slow."""

# Gradio evaluates its templates in the page: without 'unsafe-inline' and 'unsafe-eval' it shows nothing.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; img-src 'self' data: blob:; "
    "style-src 'self' 'unsafe-inline'; font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'self'; "
    "object-src 'none'; base-uri 'self'; worker-src 'self' blob:"
)
PAGE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class PageHeaders:
    """Adds to every answer what keeps a page from loading, framing or leaking anything foreign."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in PAGE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class OriginGuard:
    """Refuses what a page of another site makes a browser send: changes, and WebSockets."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] in ("http", "websocket") and self._is_foreign(scope):
            await _refuse(scope, receive, send, 403, "A page of another site sent this; it is refused.")
            return
        await self._app(scope, receive, send)

    def _is_foreign(self, scope: Scope) -> bool:
        if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
            return False
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin in self._allowed:
            return False
        if headers.get("sec-fetch-site") == "cross-site":
            return True
        return origin is not None and urlsplit(origin).netloc != headers.get("host")


class HostGuard:
    """Answers only to names that are this server's.

    A foreign name that resolves to this machine is how another site's page reaches a local server (DNS rebinding); an
    address in numbers cannot be rebound, and is let through.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] in ("http", "websocket") and not self._is_ours(Headers(scope=scope).get("host", "")):
            hint = "This name is not this server's. Add it in Settings, Server, Host names."
            await _refuse(scope, receive, send, 400, hint)
            return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names or any(name.endswith(own[1:]) for own in self._names if own.startswith("*.")):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class Login:
    """HTTP Basic over everything, WebSockets too.

    Some browsers send no Basic credentials with a WebSocket: whoever has shown the password gets a cookie that stands
    for it until the server stops.
    """

    COOKIE = "patchbay_login"

    def __init__(self, app: ASGIApp, account: str) -> None:
        self._app = app
        self._account = account.encode()
        self._token = secrets.token_urlsafe(24)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or ask for the password."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._has_cookie(headers.get("cookie", "")):
            await self._app(scope, receive, send)
        elif self._has_password(headers.get("authorization", "")):
            await self._app(scope, receive, self._giving_cookie(send, secure=scope["scheme"] in ("https", "wss")))
        else:
            if "authorization" in headers:
                await asyncio.sleep(FAILURE_SECONDS)
            await _refuse(scope, receive, send, 401, "This studio asks for a name and a password.")

    def _has_password(self, header: str) -> bool:
        scheme, _, credentials = header.partition(" ")
        try:
            given = base64.b64decode(credentials, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(given, self._account)

    def _has_cookie(self, header: str) -> bool:
        try:
            cookie = SimpleCookie(header).get(self.COOKIE)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(cookie.value.encode(), self._token.encode())

    def _giving_cookie(self, send: Send, *, secure: bool) -> Send:
        cookie = f"{self.COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        return send_with_cookie


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": FORBIDDEN_SOCKET, "reason": reason})
        return
    headers = {"www-authenticate": 'Basic realm="Patchbay", charset="UTF-8"'} if status == 401 else {}
    await PlainTextResponse(reason, status, headers)(scope, receive, send)
