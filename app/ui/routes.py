"""The page's own routes, all below /app: what the scripts in static/ fetch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from app.errors import PatchbayError, RequestError
from app.generation.request import GenerationRequest
from app.ui.live import live_state
from app.ui.owner import owner_of
from app.ui.pictures import preview_jpeg
from app.ui.studio import Job, Studio

STATIC = Path(__file__).parent / "static"
LIVE_INTERVAL = 0.1
"""Seconds between two looks at the engine: ten a second is smooth, and costs next to nothing."""
