"""`serve`: the studio, until it is told to stop."""

from __future__ import annotations

import argparse
import contextlib
import errno
import ipaddress
import logging
import os
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

from app.cli.parser import settings_of
from app.errors import SettingsError

if TYPE_CHECKING:
    import uvicorn

    from app.settings import SettingsStore

PORTS_TRIED = 32
STOP_SECONDS = 3
"""How long open streams (the page's events) may hold up a stop."""


def serve(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; 0 after a stop that was asked for."""
    settings = settings_of(arguments)
    account = arguments.auth or os.environ.get("PATCHBAY_AUTH", "")
    if arguments.share and not account:
        raise SettingsError("A public address needs a password.", where="--share", hint="Add --auth USER:PASS.")
    for problem in settings.problems:
        print(problem, file=sys.stderr)
    listening = listen(settings)
    address = _address(listening)
    if not account and not ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback:
        print("Anyone in this network can use the studio; --auth USER:PASS asks for a password.", file=sys.stderr)
    print("Starting …", flush=True)
    server = _server(settings, account=account, share=arguments.share)
    threading.Thread(
        target=_announce, args=(server, address, settings.current.server.open_browser, arguments.share), daemon=True
    ).start()
    # A stop cuts open streams off, which uvicorn reports as errors with their tracebacks.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: not server.should_exit)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    return 0 if server.started else 1


def listen(settings: SettingsStore) -> socket.socket:
    """A listening socket on the address of the settings.

    A port that the command line or the environment names is the one or none; else the next free one is taken.

    Raises:
        SettingsError: the port is taken, or the address cannot be listened on.
    """
    host, port = settings.current.server.host, settings.current.server.port
    fixed = "server.port" in settings.locked
    for candidate in range(port, min(port + (1 if fixed else PORTS_TRIED), 65536)):
        try:
            found = _bound(host, candidate)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host can have this name
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                continue
            message = f"Cannot listen on {host!r:.80}: {getattr(error, 'strerror', None) or error}."
            raise SettingsError(message, where="server.host") from error
        if candidate != port:
            print(f"Port {port} is taken; using {candidate}", flush=True)
        return found
    raise SettingsError(
        f"Port {port} is taken.", where="server.port", hint="Stop what uses it, or name another: --port"
    )


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":  # On Windows this option lets two servers share a port.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(socket.SOMAXCONN)
    except BaseException:
        found.close()
        raise
    return found


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
    return f"http://{shown}:{port}"


def _server(settings: SettingsStore, *, account: str, share: bool) -> uvicorn.Server:
    import uvicorn

    from app.cli.studio import load_extensions, open_engine
    from app.server.application import application

    extensions = load_extensions()
    engine = open_engine(settings, extensions)
    app = application(engine, settings, extensions.routers, account=account, share=share)
    config = uvicorn.Config(
        app, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=STOP_SECONDS, server_header=False
    )
    return uvicorn.Server(config)


def _announce(server: uvicorn.Server, address: str, open_browser: bool, share: bool) -> None:
    """Once the server answers: say where, and open it."""
    ticking = threading.Event()
    while not server.started:
        if server.should_exit or ticking.wait(0.02):
            return
    print(f"Patchbay is at {address} (Ctrl+C stops it)", flush=True)
    if share:
        _share(int(address.rpartition(":")[2]))
    if open_browser:
        webbrowser.open(address)


def _share(port: int) -> None:
    """Open a tunnel from a public address to this port, with Gradio's."""
    import secrets

    import httpx
    from gradio.exceptions import ChecksumMismatchError
    from gradio.networking import setup_tunnel

    try:
        public = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except (OSError, RuntimeError, ValueError, httpx.HTTPError, ChecksumMismatchError) as error:
        print(
            f"No public address could be opened: {[*str(error).splitlines(), type(error).__name__][0]}", file=sys.stderr
        )
    else:
        print(f"Public address: {public}", flush=True)
