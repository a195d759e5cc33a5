"""Laws of the one process: every face below one set of guards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.server.application import application
from app.settings import SettingsStore
from tests.standin import painting_engine, served

PATHS = ("/", "/config", "/sdapi/v1/samplers", "/app/static/boot.js", "/gradio_api/info", "/openapi.json", "/none")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("studio")
    settings = SettingsStore(folder)
    app = application(painting_engine(settings), settings, account="me:secret")
    with served(app) as address:
        yield address


@pytest.mark.parametrize("path", PATHS)
def test_one_password_covers_every_face(address: str, path: str) -> None:
    assert httpx.get(address + path).status_code == 401
    assert httpx.get(address + path, auth=("me", "secret")).status_code in (200, 404)


@pytest.mark.parametrize("path", PATHS)
def test_a_foreign_name_reaches_no_face(address: str, path: str) -> None:
    assert httpx.get(address + path, headers={"host": "evil.example"}, auth=("me", "secret")).status_code == 400


@pytest.mark.parametrize("path", ["/sdapi/v1/interrupt", "/gradio_api/upload", "/gradio_api/queue/join"])
@pytest.mark.parametrize("host", [None, "192.168.1.5"])
def test_a_page_of_another_site_reaches_no_face_and_gets_no_permission(
    address: str, path: str, host: str | None
) -> None:
    headers = {"origin": "http://evil.example", **({"host": host} if host else {})}
    answer = httpx.post(address + path, headers=headers, auth=("me", "secret"))
    assert answer.status_code == 403
    for asked in (answer, httpx.get(f"{address}/config", headers=headers, auth=("me", "secret"))):
        assert "access-control-allow-origin" not in asked.headers


def test_the_page_names_no_foreign_host_that_it_would_load_from(address: str) -> None:
    policy = httpx.get(address, auth=("me", "secret")).headers["content-security-policy"]
    assert "http" not in policy and "*" not in policy


def test_settings_name_hosts_and_origins_that_are_let_in(tmp_path: Path) -> None:
    settings = SettingsStore(tmp_path, {"server.hosts": ["studio.example"], "server.origins": ["http://ok.example"]})
    with served(application(painting_engine(settings), settings)) as address:
        assert httpx.get(f"{address}/sdapi/v1/samplers", headers={"host": "studio.example"}).status_code == 200
        answer = httpx.post(f"{address}/sdapi/v1/interrupt", headers={"origin": "http://ok.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://ok.example"
