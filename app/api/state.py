"""What the server is doing, and stopping it."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import psutil

from app.engine.engine import Engine
from app.engine.jobs import JobView

OWNER = "api"
"""Jobs that came by the API; its clients stop these, and another's only when it has none."""


def progress(engine: Engine, *, with_image: bool) -> dict[str, Any]:
    """`progress`: the running job, whosever it is; nothing but zeros when there is none."""
    jobs = engine.snapshot(None).jobs
    job = jobs[0] if jobs else None
    now = job.progress if job else None
    share = now.step / now.steps if now and now.steps else 0.0
    preview = now.preview if now and with_image else None
    return {
        "progress": min(share, 1.0) if not job else max(min(share, 1.0), 0.01),
        "eta_relative": (now.remaining or 0.0) if now else 0.0,
        "state": _state(job),
        "current_image": _jpeg(preview) if preview else None,
        "textinfo": (now.message or now.state) if now else None,
        "current_task": job.id if job else None,
    }


def _state(job: JobView | None) -> dict[str, Any]:
    now = job.progress if job else None
    return {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": f"task({job.id})" if job else "",
        "job_count": now.images if now else 0,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S") if job else "0",
        "job_no": now.image if now else 0,
        "sampling_step": now.step if now else 0,
        "sampling_steps": now.steps if now else 0,
    }


def interrupt(engine: Engine) -> None:
    """Stop the API's running job, or whichever runs when the API has none."""
    engine.interrupt(OWNER if engine.snapshot(OWNER).jobs else None)


def skip(engine: Engine) -> None:
    """Leave the image being made, of the API's job or of whichever runs."""
    engine.skip(OWNER if engine.snapshot(OWNER).jobs else None)


def memory() -> dict[str, Any]:
    """`memory`: the machine's RAM, in bytes."""
    ram = psutil.virtual_memory()
    return {"ram": {"free": ram.available, "used": ram.used, "total": ram.total}, "cuda": {"error": "unavailable"}}


def _jpeg(image: Any) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
