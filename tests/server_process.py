"""A studio in a process of its own, for the tests that open its pages."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 180
STOP_SECONDS = 60


class Server(ABC):
    """A server process over its own data folder, which can be stopped and started again."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def serving(self) -> list[str]:
        """The command that serves."""

    @property
    def environment(self) -> dict[str, str]:
        """One thread for the model: the browser beside it needs the other core."""
        return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(self) -> None:
        """Serve, and wait for the first answer."""
        self._process = subprocess.Popen(self.serving(), cwd=ROOT, env=self.environment)
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
