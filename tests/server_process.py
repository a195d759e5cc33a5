"""A studio in a process of its own, for the tests that open its pages."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

START_SECONDS = 180
STOP_SECONDS = 60


class Server:
    """A server process over its own data folder, which can be stopped and started again."""

    def __init__(self, data: Path, port: int, command: Sequence[str], folder: Path) -> None:
        self.data = data
        self.address = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """One thread for the model: the browser beside it needs the other core."""
        return {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}

    def start(self) -> None:
        """Serve, and wait for the first answer."""
        self._process = subprocess.Popen(self._command, cwd=self.folder, env=self.environment)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.address}/config", timeout=5).read()
            except OSError:
                assert self._process.poll() is None, "the studio ended while it started"
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the studio did not answer")

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.terminate()
            self._process.wait(STOP_SECONDS)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
