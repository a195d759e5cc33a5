"""The web application: every face of the engine below one set of guards."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app import __version__
from app.engine.engine import Engine
from app.server.guards import HostGuard, Login, OriginGuard, PageHeaders
from app.settings import SettingsStore

SHARE_NAMES = ("*.gradio.live",)


def application(
    engine: Engine,
    settings: SettingsStore,
    routers: Iterable[tuple[str, APIRouter]] = (),
    *,
    account: str = "",
    share: bool = False,
) -> FastAPI:
    """The studio and the HTTP API over `engine`, which runs from the application's start to its end.

    `routers` are extensions' routes, by extension. `account` ("user:password") is asked of everyone who comes, where
    it is given.
    """
    from app.api.routes import router as api_router
    from app.ui import page, routes
    from app.ui.owner import owner_cookie

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        with engine:
            engine.warm()
            engine.library.networks.start_hashing()
            yield
            # What runs is interrupted at its next step; waiting for that must not hold the loop up.
            await anyio.to_thread.run_sync(engine.close)
            await anyio.to_thread.run_sync(engine.library.close)

    # FastAPI's own documentation pages load scripts from a foreign host.
    app = FastAPI(title="Patchbay", version=__version__, lifespan=running, docs_url=None, redoc_url=None)
    app.include_router(api_router(engine, settings))
    app.include_router(routes.router(engine, settings))
    for name, router in routers:
        app.include_router(router, prefix=f"/extensions/{name}")
    built = page.build(engine, settings)
    import gradio

    gradio.mount_gradio_app(app, built.blocks, path="/", **built.mount)

    server = settings.current.server
    # The last one added is the outermost. Our CORS layer, even with no origin, takes the place of Gradio's own, which
    # answers any origin of the local network.
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    app.add_middleware(owner_cookie)
    app.add_middleware(CORSMiddleware, allow_origins=server.origins, allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(OriginGuard, allowed=server.origins)
    if account:
        app.add_middleware(Login, account=account)
    app.add_middleware(HostGuard, names=[*own_names(server.host, server.hosts), *(SHARE_NAMES if share else ())])
    app.add_middleware(PageHeaders)
    return app


def own_names(host: str, more: Iterable[str] = ()) -> list[str]:
    """The names this machine is called by: its own where the network is let in, and what the settings add."""
    here = socket.gethostname()
    outside = [] if host in ("127.0.0.1", "localhost", "::1") else [here, f"{here}.local", socket.getfqdn()]
    return ["localhost", host, *outside, *more]
