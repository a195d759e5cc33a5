"""The live state of one owner's jobs, as the page draws it."""

from __future__ import annotations

from typing import Any

from app.engine.jobs import JobView, Snapshot
from app.generation.passes import steps_per_image
from app.generation.result import GeneratedImage, NetworkUse


def live_state(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON. Pictures are named by address, and fetched when they are looked at."""
    return {
        "queue": snapshot.queue_length,
        "jobs": [_unfinished(job) for job in snapshot.jobs],
        "last": finished_state(snapshot.last) if snapshot.last else None,
        "recent": [{"id": job.id, "seeds": _seeds(job)} for job in snapshot.pictured],
    }


def _unfinished(job: JobView) -> dict[str, Any]:
    progress = job.progress
    version = job.preview_version
    return {
        "id": job.id,
        "state": progress.state,
        "position": job.position,
        "step": progress.step,
        "steps": progress.steps,
        "image": progress.image,
        "images": progress.images,
        "seeds": _seeds(job),
        "elapsed": round(progress.elapsed, 1),
        "remaining": None if progress.remaining is None else round(progress.remaining, 1),
        "message": progress.message,
        "width": job.request.width,
        "height": job.request.height,
        "stepsEach": steps_per_image(job.request),
        "preview": f"/app/preview/{job.id}?v={version}" if version else None,
    }


def finished_state(job: JobView) -> dict[str, Any]:
    """All that the page tells of a job with its images: one that has ended, or one at work on further images."""
    result, error = job.result, job.error
    problems = result.problems if result else error.problems if error else ()
    return {
        "id": job.id,
        "state": job.state,
        "error": str(error) if error else None,
        "problems": [problem.as_json() for problem in problems],
        "seconds": round(result.seconds, 1) if result else None,
        "images": [_image(f"/app/image/{job.id}/{index}", made) for index, made in enumerate(job.images)],
        "networks": [_network(network) for network in result.networks] if result else [],
        "kept": result.kept_bytes if result else 0,
    }


def _seeds(job: JobView) -> list[int]:
    """The seeds of the images that a job has by now."""
    return [made.request.seed for made in job.images]


def _image(address: str, made: GeneratedImage) -> dict[str, Any]:
    return {
        "address": address,
        "name": made.path.name if made.path else f"{made.request.seed}.png",
        "width": made.image.width,
        "height": made.image.height,
        "seed": made.request.seed,
        "infotext": made.infotext,
    }


def _network(network: NetworkUse) -> dict[str, Any]:
    """A network the images were made with, and how many of its modules had a place in the model."""
    return {
        "name": network.name,
        "kind": network.kind,
        "base": network.base_model,
        "hash": network.sha256[:12],
        "matched": network.matched,
        "unmatched": network.unmatched,
        "mismatched": network.mismatched,
    }
