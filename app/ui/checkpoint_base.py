"""Which family a checkpoint is of, read from its header or its folder's own words, without loading it."""

from __future__ import annotations

from pathlib import Path

from app.errors import NetworkError
from app.networks.details import record_at
from app.networks.sidecar import read_object

PIPELINES = {
    "StableDiffusionPipeline": "sd15",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "ChromaPipeline": "chroma",
}
"""The families of diffusers' pipelines, as `model_index.json` names them."""
SD2_WIDTH = 1024
"""The width of SD 2's cross-attention, which shares SD 1's pipeline."""


def checkpoint_base(path: Path) -> str:
    """The family of a single file or diffusers folder; "unknown" where it does not say."""
    try:
        if not path.is_dir():
            return record_at(path, "checkpoint").base_model
        base = PIPELINES.get(str(read_object(path / "model_index.json").get("_class_name")), "unknown")
        is_sd2 = base == "sd15" and read_object(path / "unet" / "config.json").get("cross_attention_dim") == SD2_WIDTH
    except NetworkError:
        return "unknown"
    return "sd2" if is_sd2 else base
