"""The options of a training run, under the names that people know them by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["network", "decoder", "embedding", "hypernetwork"]


@dataclass(frozen=True)
class NetworkOptions:
    """What to train, on which pictures, and for how long.

    A `network` acts on the denoiser, the text encoder or both, a `decoder` on the VAE; both are LyCORIS', which takes
    `network_args` as trainers pass them on. A learning rate of 0 leaves that part alone.
    """

    output_name: str
    train_data_dir: Path = Path()
    reg_data_dir: Path | None = None  # what the network should leave as it is, without the trigger
    opposite_data_dir: Path | None = None  # what strength -1 should give: makes the network a slider
    conditioning_data_dir: Path | None = None  # the same pictures before the change, for the VAE
    kind: Kind = "network"
    network_dim: int = 4
    network_alpha: float = 4.0
    network_args: Mapping[str, str] = field(default_factory=dict)
    word: str = ""  # a word that is learnt: an embedding's own, or one bundled with a network
    vectors: int = 2  # how many tokens the word stands for
    unet_lr: float = 4e-3
    text_encoder_lr: float = 0.0
    max_train_epochs: int = 10
    train_batch_size: int = 8
    reg_share: float = 0.25  # how much of a batch is from reg_data_dir
    resolution: int = 64
    caption_dropout_rate: float = 0.1  # of the pictures without the trigger, where there are such
    sample_prompts: tuple[str, ...] = ()
    sample_every_n_epochs: int = 0
    seed: int = 1
    trigger: str = ""
    description: str = ""

    @property
    def learning_rate(self) -> float:
        """The rate that the others are told as shares of."""
        return max(self.unet_lr, self.text_encoder_lr)
