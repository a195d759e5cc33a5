"""What the file of a network says of itself: the metadata that trainers write, and people's tools read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .dataset import subsets
from .options import Kind, NetworkOptions

MODULES: dict[Kind, str] = {
    "network": "lycoris.kohya",
    "decoder": "lycoris.wrapper",
    "embedding": "textual_inversion",
    "hypernetwork": "hypernetwork",
}
ARCHITECTURES: dict[Kind, str] = {
    "network": "lora",
    "decoder": "lora",
    "embedding": "textual-inversion",
    "hypernetwork": "hypernetwork",
}
LYCORIS = "https://github.com/KohakuBlueleaf/LyCORIS"


@dataclass(frozen=True)
class Run:
    """How a training run went."""

    steps: int
    epochs: int
    images: int
    reg_images: int
    started: float
    finished: float


def metadata(options: NetworkOptions, run: Run) -> dict[str, str]:
    """Kohya's entries and modelspec's; what is not known is left out."""
    entries = {**_training(options, run), **_data(options), **_card(options)}
    return {name: str(value) for name, value in entries.items() if value not in ("", None)}


def _training(options: NetworkOptions, run: Run) -> dict[str, object]:
    return {
        "ss_output_name": options.output_name,
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "patchbay-demo",
        "ss_v2": False,
        "ss_network_module": MODULES[options.kind],
        "ss_network_dim": options.network_dim if options.kind in ("network", "decoder") else None,
        "ss_network_alpha": options.network_alpha if options.kind in ("network", "decoder") else None,
        "ss_network_args": json.dumps(dict(options.network_args)) if options.network_args else None,
        "ss_learning_rate": options.learning_rate,
        "ss_unet_lr": options.unet_lr,
        "ss_text_encoder_lr": options.text_encoder_lr,
        "ss_optimizer": "torch.optim.adamw.AdamW(weight_decay=0.01,betas=(0.9, 0.99))",
        "ss_lr_scheduler": "linear",
        "ss_max_grad_norm": 1.0,
        "ss_num_train_images": run.images,
        "ss_num_reg_images": run.reg_images,
        "ss_num_batches_per_epoch": run.steps // run.epochs,
        "ss_num_epochs": run.epochs,
        "ss_epoch": run.epochs,
        "ss_max_train_steps": run.steps,
        "ss_steps": run.steps,
        "ss_total_batch_size": options.train_batch_size,
        "ss_gradient_accumulation_steps": 1,
        "ss_mixed_precision": "no",
        "ss_caption_dropout_rate": options.caption_dropout_rate,
        "ss_cache_latents": True,
        "ss_clip_skip": None,
        "ss_resolution": f"({options.resolution}, {options.resolution})",
        "ss_seed": options.seed,
        "ss_training_started_at": run.started,
        "ss_training_finished_at": run.finished,
    }


def _data(options: NetworkOptions) -> dict[str, object]:
    """What it was trained on; of folders, their names alone."""
    sides = [folder for folder in (options.train_data_dir, options.opposite_data_dir) if folder]
    tags = {part.folder.name: dict(part.tags()) for folder in sides for part in subsets(folder)}
    return {
        "ss_tag_frequency": json.dumps(tags),
        "ss_dataset_dirs": json.dumps(_directories(sides)),
        "ss_reg_dataset_dirs": json.dumps(_directories([options.reg_data_dir] if options.reg_data_dir else [])),
    }


def _directories(folders: list[Path]) -> dict[str, dict[str, int]]:
    parts = [part for folder in folders for part in subsets(folder)]
    return {part.folder.name: {"n_repeats": part.repeats, "img_count": len(part.pictures)} for part in parts}


def _card(options: NetworkOptions) -> dict[str, object]:
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"stable-diffusion-v1/{ARCHITECTURES[options.kind]}",
        "modelspec.implementation": LYCORIS if options.kind in ("network", "decoder") else "diffusers",
        "modelspec.title": options.output_name,
        "modelspec.author": "Patchbay",
        "modelspec.description": options.description,
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": f"{options.resolution}x{options.resolution}",
        "modelspec.prediction_type": "epsilon",
        "modelspec.trigger_phrase": options.trigger,
    }
