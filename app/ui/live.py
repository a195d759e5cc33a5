"""The live state of one owner's jobs, as the page draws it."""

from __future__ import annotations

from typing import Any

from app.generation.result import GeneratedImage, GenerationResult
from app.ui.studio import Job, Snapshot

FINISHED = frozenset({"done", "interrupted", "failed"})


def live_state(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON. Pictures are named by address; they are fetched when they are looked at."""
    return {
        "queue": snapshot.queue,
        "jobs": [_job(job) for job in snapshot.jobs],
        "last": _finished(snapshot.last) if snapshot.last else None,
    }


def _job(job: Job) -> dict[str, Any]:
    progress = job.progress
    version = job.preview_version
    return {
        "id": job.id,
        "state": progress.state,
        "step": progress.step,
        "steps": progress.steps,
        "image": progress.image,
        "images": progress.images,
        "position": progress.position,
        "elapsed": round(progress.elapsed, 1),
        "remaining": None if progress.remaining is None else round(progress.remaining, 1),
        "message": progress.message,
        "width": job.request.width,
        "height": job.request.height,
        "preview": f"/app/preview/{job.id}?v={version}" if version else None,
    }


def _finished(job: Job) -> dict[str, Any]:
    result = job.result
    problems = result.problems if result else job.error.problems if job.error else ()
    return {
        "id": job.id,
        "state": job.state,
        "error": str(job.error) if job.error else None,
        "problems": [problem.as_json() for problem in problems],
        "seconds": round(result.seconds, 1) if result else None,
        "images": _images(job.id, result) if result else [],
    }


def _images(job: str, result: GenerationResult) -> list[dict[str, Any]]:
    return [_image(f"/app/image/{job}/{index}", made) for index, made in enumerate(result.images)]


def _image(address: str, made: GeneratedImage) -> dict[str, Any]:
    return {
        "address": address,
        "name": made.path.name if made.path else f"{made.request.seed}.png",
        "width": made.image.width,
        "height": made.image.height,
        "seed": made.request.seed,
        "infotext": made.infotext,
    }
