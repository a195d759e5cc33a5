"""Laws of starting and stopping."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.errors import SettingsError
from app.server.serve import listen
from app.settings import SettingsStore
from tests.server_process import free_port


def test_a_taken_port_gives_the_next_free_one_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SettingsStore(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings.change({"server.port": port})
        with listen(settings) as found:
            chosen = found.getsockname()[1]
        assert chosen > port
        assert f"Port {port} is taken; using {chosen}" in capsys.readouterr().out


def test_a_port_that_was_asked_for_and_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"Port {port} is taken"):
            listen(SettingsStore(tmp_path, {"server.port": port}))


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host", "x" * 300])
def test_an_address_that_is_not_ours_is_one_line(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError) as caught:
        listen(SettingsStore(tmp_path, {"server.host": host}))
    assert "\n" not in str(caught.value)


def studio(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app", "serve", "--data", str(folder), "--models", str(folder), "--no-browser"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment or dict(os.environ),
    )


def test_a_public_address_needs_a_password(tmp_path: Path) -> None:
    with studio(tmp_path, "--share") as process:
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "--auth" in said and len(said.splitlines()) == 1


def tunnel(home: Path, script: str) -> dict[str, str]:
    """The environment in which Gradio finds this shell script where it keeps the program that opens its tunnels."""
    from gradio import tunneling

    program = home / "gradio" / "frpc" / Path(tunneling.BINARY_PATH).name
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {**os.environ, "HF_HOME": str(home), "GRADIO_SHARE_SERVER_ADDRESS": "127.0.0.1:9"}


def said_until(process: subprocess.Popen[str], words: str) -> str:
    """The line with these words, as soon as it is there."""
    assert process.stdout
    return next(line for line in process.stdout if words in line)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the tunnel")
def test_a_public_address_is_said_and_answers_to_the_password_alone(tmp_path: Path) -> None:
    environment = tunnel(tmp_path / "hf", "echo 'start proxy success: https://abc.gradio.live'; exec sleep 60")
    port = str(free_port())
    with studio(tmp_path, "--share", "--auth", "me:secret", "--port", port, environment=environment) as process:
        assert said_until(process, "Public address").strip() == "Public address: https://abc.gradio.live"
        address, public = f"http://127.0.0.1:{port}/sdapi/v1/samplers", {"host": "abc.gradio.live"}
        assert httpx.get(address, headers=public).status_code == 401
        assert httpx.get(address, headers=public, auth=("me", "secret")).status_code == 200
        assert httpx.get(address, headers={"host": "evil.example"}, auth=("me", "secret")).status_code == 400
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for the tunnel")
def test_a_tunnel_that_cannot_be_opened_is_one_line_and_the_studio_goes_on(tmp_path: Path) -> None:
    environment = tunnel(tmp_path / "hf", "echo 'login to server failed'; exec sleep 60")
    port = str(free_port())
    with studio(tmp_path, "--share", "--auth", "me:secret", "--port", port, environment=environment) as process:
        assert "No public address" in said_until(process, "No public address")
        assert httpx.get(f"http://127.0.0.1:{port}/sdapi/v1/samplers", auth=("me", "secret")).status_code == 200
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_the_studio_says_where_it_is_and_stops_when_asked(tmp_path: Path, asked: signal.Signals) -> None:
    with studio(tmp_path, "--port", str(free_port())) as process:
        assert process.stdout
        address = ""
        for line in process.stdout:
            if found := re.search(r"Patchbay is at (\S+)", line):
                address = found[1]
                break
        assert httpx.get(f"{address}/sdapi/v1/samplers").status_code == 200
        # An open stream, as a page's, must not hold the stop up.
        with httpx.stream("GET", f"{address}/gradio_api/heartbeat/x"):
            process.send_signal(asked)
            started = time.monotonic()
            process.wait(30)
        assert time.monotonic() - started < 20
        assert process.returncode in (0, -signal.SIGTERM)
