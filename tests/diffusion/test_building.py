"""A look at a checkpoint's modules leaves alone what another thread loads meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.diffusion.outline import outline
from tests.diffusion.models import saved, sd15_pipeline

LOADS = 8


def test_a_model_has_all_its_weights_while_another_thread_looks_at_modules(tmp_path: Path) -> None:
    folder = saved(sd15_pipeline(), tmp_path / "small")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            outline(folder)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        loaded = [load_checkpoint(folder, CPU) for _ in range(LOADS)]
    finally:
        done.set()
        thread.join()
    assert not any(
        weight.is_meta for model in loaded for part in model.components.values() for weight in part.parameters()
    )
