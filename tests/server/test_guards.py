"""Laws of who may ask: the guards, around the smallest application."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from app.server.guards import HostGuard, Login, OriginGuard, PageHeaders
from tests.standin import served

OK_ORIGIN = "http://friend.example"
ACCOUNT = "käte:pass:word"


def guarded(*, login: bool = False) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @app.post("/")
    def root() -> str:
        return "here"

    @app.websocket("/ws")
    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("here")
        await socket.close()

    app.add_middleware(OriginGuard, allowed=[OK_ORIGIN])
    if login:
        app.add_middleware(Login, account=ACCOUNT)
    app.add_middleware(HostGuard, names=["localhost", "studio.example", "*.share.example"])
    app.add_middleware(PageHeaders)
    return app


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(guarded()) as address:
        yield address


@pytest.fixture(scope="module")
def locked() -> Iterator[str]:
    with served(guarded(login=True)) as address:
        yield address


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:99", 200), ("[::1]:7860", 200), ("192.168.1.5:7860", 200),
        ("studio.example", 200), ("abc.share.example", 200), ("evil.example", 400), ("localhost.evil.example", 400),
        ("share.example.evil.example", 400), ("127.0.0.1.evil.example", 400), ("evilshare.example", 400), ("", 400),
        ("[", 400),
    ],
)  # fmt: skip
def test_only_our_names_and_addresses_in_numbers_are_answered(address: str, host: str, status: int) -> None:
    assert httpx.get(address, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": OK_ORIGIN}, 200),
        ({"origin": OK_ORIGIN, "sec-fetch-site": "cross-site"}, 200),
        ({"origin": "http://127.0.0.1:9", "host": "127.0.0.1:9"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example", "host": "192.168.1.5"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:8"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing(address: str, headers: dict[str, str], status: int) -> None:
    assert httpx.post(address, headers=headers).status_code == status
    assert httpx.get(address, headers=headers).status_code == 200


def heard(address: str, **headers: str) -> str:
    with connect(f"{address.replace('http', 'ws', 1)}/ws", additional_headers=headers) as socket:
        return str(socket.recv())


def test_a_page_of_another_site_opens_no_websocket(address: str) -> None:
    assert heard(address) == heard(address, Origin=address) == "here"
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(WebSocketException):
            heard(address, **headers)


def test_every_answer_keeps_foreign_content_out(address: str) -> None:
    for path in ("/", "/none"):
        headers = httpx.get(address + path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_password_opens_everything_and_nothing_opens_without(locked: str) -> None:
    account = ("käte", "pass:word")
    for path in ("/", "/none", "/openapi.json"):
        refused = httpx.get(locked + path)
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic")
        assert httpx.get(locked + path, auth=account).status_code != 401
    with pytest.raises(WebSocketException):
        heard(locked)


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Bearer a2F0ZTpw", "Basic a8OkdGU6", "Basic \xff", "basic a2F0ZTpwYXNz", ""]
)
def test_a_wrong_password_is_refused(locked: str, header: str) -> None:
    assert httpx.get(locked, headers=[(b"authorization", header.encode("latin-1"))]).status_code == 401


def test_after_the_password_a_cookie_opens_websockets_too(locked: str) -> None:
    answer = httpx.get(locked, auth=("käte", "pass:word"))
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=Strict" in answer.headers["set-cookie"]
    assert heard(locked, Cookie=cookie) == "here"
    with pytest.raises(WebSocketException):
        heard(locked, Cookie=cookie[:-2])
    assert httpx.get(locked, headers=[(b"cookie", b"patchbay_login=\xff")]).status_code == 401
