"""Training of networks (LoRA and its relatives) on a pipeline, from a folder of captioned pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from lycoris.kohya import LycorisNetworkKohya, create_network
from PIL import Image
from torch import Tensor, nn

from .autoencoder import encode, to_tensor
from .captions import tokenize
from .denoiser import CAPTION_DROPOUT, NoiseLoss

WITH_CONVOLUTIONS = Path(__file__).with_name("convolutions.toml")


@dataclass(frozen=True)
class NetworkOptions:
    """The options of a training run, under the names people know them by."""

    output_name: str
    train_data_dir: Path = Path()
    opposite_data_dir: Path | None = None  # what strength -1 should give: makes the network a slider
    algo: str = "lora"
    network_dim: int = 8
    network_alpha: float = 8.0
    conv_dim: int | None = None  # no number: only attention and feed-forward layers are trained
    conv_alpha: float = 1.0
    factor: int = -1  # of LoKr
    unet_lr: float = 2e-3
    text_encoder_lr: float = 0.0
    epochs: int = 10
    batch_size: int = 8
    resolution: int = 64
    seed: int = 1
    trigger: str = ""
    description: str = ""

    @property
    def folders(self) -> tuple[tuple[Path, float], ...]:
        """Each data folder with the strength at which the network learns it."""
        opposite = ((self.opposite_data_dir, -1.0),) if self.opposite_data_dir else ()
        return ((self.train_data_dir, 1.0), *opposite)


@dataclass(frozen=True)
class Progress:
    """Where a training run is."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Lessons:
    """A data folder in memory; an example appears as often as its folder's number of repeats says."""

    latents: Tensor
    captions: list[str]

    @classmethod
    def read(cls, pipeline: StableDiffusionPipeline, folder: Path, resolution: int) -> Lessons:
        """Read ``REPEATS_NAME`` folders of pictures, each with its caption in a text file beside it."""
        pictures: list[Image.Image] = []
        captions: list[str] = []
        for part in parts(folder):
            repeats = int(part.name.partition("_")[0])
            for file in sorted(part.glob("*.png")):
                text = file.with_suffix(".txt").read_text(encoding="utf-8").strip()
                picture = Image.open(file).convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
                pictures += [picture] * repeats
                captions += [text] * repeats
        if not pictures:
            raise ValueError(f"{folder} holds no REPEATS_NAME folder with pictures")
        images = to_tensor(pictures).to(pipeline.device)
        return cls(encode(pipeline.vae, images) * pipeline.vae.config.scaling_factor, captions)


def parts(folder: Path) -> list[Path]:
    """The ``REPEATS_NAME`` folders of a data folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir())


class TextModelLevel(nn.Module):
    """Gives the text encoder's modules the names that files of networks use, ``text_model.encoder…``."""

    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_model = text_encoder


def attach(pipeline: StableDiffusionPipeline, options: NetworkOptions) -> LycorisNetworkKohya:
    """A fresh network of the wanted kind, acting on the pipeline's parts from now on."""
    network = create_network(
        1.0,
        options.network_dim,
        options.network_alpha,
        pipeline.vae,
        TextModelLevel(pipeline.text_encoder),
        pipeline.unet,
        warn_on_unmatched=False,
        algo=options.algo,
        preset="attn-mlp" if options.conv_dim is None else str(WITH_CONVOLUTIONS),
        conv_dim=options.conv_dim or options.network_dim,
        conv_alpha=options.conv_alpha,
        factor=options.factor,
    )
    network.apply_to(None, None, apply_text_encoder=options.text_encoder_lr > 0, apply_unet=options.unet_lr > 0)
    return network.to(pipeline.device)


def detach(network: LycorisNetworkKohya) -> None:
    """Give the pipeline its own forward functions back."""
    for adapter in network.loras:
        adapter.restore()


def train_network(
    pipeline: StableDiffusionPipeline,
    options: NetworkOptions,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> LycorisNetworkKohya:
    """Train a network; it is still attached to the pipeline when this returns, so that pictures can be made."""
    torch.manual_seed(options.seed)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    lessons = [(Lessons.read(pipeline, folder, options.resolution), side) for folder, side in options.folders]
    network = attach(pipeline, options)
    groups, _ = network.prepare_optimizer_params(options.text_encoder_lr, options.unet_lr)
    optimizer = torch.optim.AdamW([{**group, "params": list(group["params"])} for group in groups], weight_decay=0.01)
    criterion = NoiseLoss(pipeline.device)
    rng = np.random.default_rng(options.seed)
    per_epoch = -(-len(lessons[0][0].captions) // options.batch_size)
    steps = per_epoch * options.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        total = 0.0
        for lesson, side in lessons:
            network.set_multiplier(side)
            loss = _loss(pipeline, lesson, options.batch_size, criterion, rng)
            loss.backward()
            total += loss.item()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress(Progress(step // per_epoch + 1, step + 1, steps, total / len(lessons)))
    network.set_multiplier(1.0)
    return network


def save_network(network: LycorisNetworkKohya, options: NetworkOptions, folder: Path) -> Path:
    """Write the network as its library does, in half precision, with the metadata trainers leave."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{options.output_name}.safetensors"
    network.save_weights(str(path), torch.float16, metadata(options))
    return path


def metadata(options: NetworkOptions) -> dict[str, str]:
    """What the file says of itself."""
    tags = {}
    for folder, _ in options.folders:
        for part in parts(folder):
            texts = [file.read_text(encoding="utf-8") for file in sorted(part.glob("*.txt"))]
            tags[part.name] = dict(Counter(tag.strip() for text in texts for tag in text.split(",")))
    arguments = {"algo": options.algo, "factor": str(options.factor)}
    if options.conv_dim is not None:
        arguments |= {"conv_dim": str(options.conv_dim), "conv_alpha": str(options.conv_alpha)}
    side = f"{options.resolution}x{options.resolution}"
    entries = {
        "ss_output_name": options.output_name,
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": "patchbay-demo",
        "ss_network_module": "lycoris.kohya",
        "ss_network_dim": str(options.network_dim),
        "ss_network_alpha": str(options.network_alpha),
        "ss_network_args": json.dumps(arguments),
        "ss_unet_lr": str(options.unet_lr),
        "ss_text_encoder_lr": str(options.text_encoder_lr),
        "ss_num_epochs": str(options.epochs),
        "ss_total_batch_size": str(options.batch_size),
        "ss_resolution": f"({options.resolution}, {options.resolution})",
        "ss_seed": str(options.seed),
        "ss_tag_frequency": json.dumps(tags),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "https://github.com/KohakuBlueleaf/LyCORIS",
        "modelspec.title": options.output_name,
        "modelspec.description": options.description,
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": side,
        "modelspec.prediction_type": "epsilon",
        "modelspec.trigger_phrase": options.trigger,
    }
    return {name: value for name, value in entries.items() if value}


def _loss(
    pipeline: StableDiffusionPipeline, lesson: Lessons, size: int, criterion: NoiseLoss, rng: np.random.Generator
) -> Tensor:
    chosen = rng.integers(len(lesson.captions), size=size)
    captions = ["" if rng.random() < CAPTION_DROPOUT else lesson.captions[index] for index in chosen]
    tokens = tokenize(pipeline.tokenizer, captions).to(pipeline.device)
    states = pipeline.text_encoder(tokens).last_hidden_state
    return criterion(pipeline.unet, lesson.latents[torch.from_numpy(chosen)], states, rng)
