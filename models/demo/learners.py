"""What can be trained on a pipeline: LyCORIS networks here, words and hypernetworks in files of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from diffusers import StableDiffusionPipeline
from lycoris import create_lycoris
from lycoris.kohya import create_network
from lycoris.wrapper import LycorisNetwork
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .captions import tokenize
from .hypernetworks import HypernetworkLearner
from .inversion import Word
from .options import Kind, NetworkOptions

PRESETS = Path(__file__).with_name("presets")


class Learner(Protocol):
    """Something that acts on the pipeline from when it is made until it is detached, and learns meanwhile."""

    def tokens(self, captions: list[str]) -> Tensor:
        """Captions as the text encoder takes them."""

    def set_strength(self, strength: float) -> None:
        """How much it acts: the number in a prompt's tag."""

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """What learns, each part with its share of the learning rate."""

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the file that people use."""

    def detach(self) -> None:
        """Leave the pipeline as it was."""


class TextModelLevel(nn.Module):
    """Gives the text encoder's modules the names that files of networks use, ``text_model.encoder…``."""

    def __init__(self, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_model = text_encoder


class LycorisLearner:
    """A LyCORIS network on the denoiser and the text encoder, or on the VAE; with a word of its own, if it names one.

    A word that is bundled lies in the network's file, and is there for prompts that use the network.
    """

    def __init__(self, pipeline: StableDiffusionPipeline, options: NetworkOptions) -> None:
        self._pipeline, self._options = pipeline, options
        self._network = _on_vae(pipeline, options) if options.kind == "decoder" else _on_denoiser(pipeline, options)
        self._network.to(pipeline.device).requires_grad_(True)
        self._word = Word(pipeline, options) if options.word else None

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids, padded as pipelines pad them."""
        return self._word.tokens(captions) if self._word else tokenize(self._pipeline.tokenizer, captions)

    def set_strength(self, strength: float) -> None:
        """The multiplier of every module."""
        self._network.set_multiplier(strength)

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """Denoiser, text encoder and word, each at its own rate."""
        rate = self._options.learning_rate
        text = [p for lora in self._network.loras if lora.lora_name.startswith("lora_te_") for p in lora.parameters()]
        chosen = {id(parameter) for parameter in text}
        others = [parameter for parameter in self._network.parameters() if id(parameter) not in chosen]
        found = [(others, self._options.unet_lr / rate), (text, self._options.text_encoder_lr / rate)]
        return [(part, pace) for part, pace in found if part] + (self._word.paces() if self._word else [])

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the network as its library does, in half precision."""
        self._network.save_weights(str(path), torch.float16, dict(metadata))
        if self._word:
            with safe_open(path, "pt") as file:
                tensors, written = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
            vectors = self._word.vectors.detach().half().contiguous()
            save_file(tensors | {f"bundle_emb.{self._word.name}.string_to_param.*": vectors}, path, written)

    def detach(self) -> None:
        """Give the pipeline its own forward functions back."""
        for adapter in self._network.loras:
            adapter.restore()
        if self._word:
            self._word.detach()


LEARNERS: Mapping[Kind, Callable[[StableDiffusionPipeline, NetworkOptions], Learner]] = {
    "network": LycorisLearner,
    "decoder": LycorisLearner,
    "embedding": Word,
    "hypernetwork": HypernetworkLearner,
}


def _on_denoiser(pipeline: StableDiffusionPipeline, options: NetworkOptions) -> LycorisNetwork:
    text = TextModelLevel(pipeline.text_encoder)
    dim, alpha = options.network_dim, options.network_alpha
    network = create_network(
        1.0, dim, alpha, pipeline.vae, text, pipeline.unet, warn_on_unmatched=False, **_arguments(options)
    )
    learns_text = options.text_encoder_lr > 0 and not options.word
    network.apply_to(None, None, apply_text_encoder=learns_text, apply_unet=options.unet_lr > 0)
    return network


def _on_vae(pipeline: StableDiffusionPipeline, options: NetworkOptions) -> LycorisNetwork:
    arguments = _arguments(options)
    network = create_lycoris(
        pipeline.vae, 1.0, options.network_dim, options.network_alpha, warn_on_unmatched=False, **arguments
    )
    network.apply_to()
    return network


def _arguments(options: NetworkOptions) -> dict[str, str]:
    """The arguments as LyCORIS takes them; a preset of ours is a file."""
    arguments = {"preset": "attn-mlp", **options.network_args}
    own = PRESETS / f"{arguments['preset']}.toml"
    return arguments | ({"preset": str(own)} if own.is_file() else {})
