"""Which block of its model a parameter stands in, read off the live module tree.

UNets are counted as the original web UI counts them, whatever their size: `in0` is conv_in, then every resnet (with
its attention) and every downsampler of the down blocks is one input block; `mid0` is the middle block; every resnet
of the up blocks, with the upsampler that follows the last of a stage, is one output block. Transformers count their
blocks through all their lists in the order of definition (`block0`…), and a third of them each is `in`, `mid`, `out`;
what stands before the first list, and after the last, is their entry and their exit, which only block weights name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

Group = Literal["in", "mid", "out"]
THIRDS: tuple[Group, ...] = ("in", "mid", "out")
ENTRY, EXIT = "entry", "exit"
NUMBERED = re.compile(r"(?:in|mid|out|block)\d+")
"""The names of single blocks, as a tag spells them."""


@dataclass(frozen=True, slots=True)
class Block:
    """A place in a denoiser: the group whose strength it takes, and its own name ("in4"), where it has them."""

    group: Group | None
    name: str | None


OUTSIDE = Block(None, None)
"""Embeddings, the last convolution, and everything else that stands in no block."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of one denoiser, by the prefix of the parameters they hold ("down_blocks.0.resnets.1")."""

    places: Mapping[str, Block]

    @property
    def names(self) -> frozenset[str]:
        """The single blocks this model has."""
        return frozenset(block.name for block in self.places.values() if block.name)

    def of(self, parameter: str) -> Block:
        """The block of a parameter, named within its component ("mid_block.resnets.0.conv1.weight")."""
        parts = parameter.split(".")
        for length in range(min(len(parts), 4), 0, -1):
            block = self.places.get(".".join(parts[:length]))
            if block:
                return block
        return OUTSIDE


def blocks(component: nn.Module) -> Blocks:
    """The blocks of a UNet or a transformer; a module that is neither has none."""
    if hasattr(component, "down_blocks") and hasattr(component, "up_blocks"):
        return Blocks(dict(_unet(component)))
    return Blocks(dict(_transformer(component)))


def _unet(unet: nn.Module) -> Iterable[tuple[str, Block]]:
    yield "conv_in", Block(None, "in0")
    number = 0
    for stage, down in enumerate(_items(unet, "down_blocks")):
        prefix = f"down_blocks.{stage}"
        yield prefix, Block("in", None)
        for index in range(_depth(down)):
            number += 1
            yield from _level(prefix, index, Block("in", f"in{number}"))
        if _items(down, "downsamplers"):
            number += 1
            yield f"{prefix}.downsamplers", Block("in", f"in{number}")
    yield "mid_block", Block("mid", "mid0")
    number = 0
    for stage, up in enumerate(_items(unet, "up_blocks")):
        prefix = f"up_blocks.{stage}"
        yield prefix, Block("out", None)
        for index in range(_depth(up)):
            yield from _level(prefix, index, Block("out", f"out{number}"))
            number += 1
        if _items(up, "upsamplers"):
            yield f"{prefix}.upsamplers", Block("out", f"out{number - 1}")


def _level(prefix: str, index: int, block: Block) -> Iterable[tuple[str, Block]]:
    """Everything of one stage that runs at one depth."""
    for kind in ("resnets", "attentions", "motion_modules"):
        yield f"{prefix}.{kind}.{index}", block


def _depth(stage: nn.Module) -> int:
    return max(len(_items(stage, "resnets")), len(_items(stage, "attentions")))


def _transformer(transformer: nn.Module) -> Iterable[tuple[str, Block]]:
    children = list(transformer.named_children())
    lists = [
        place
        for place, (name, child) in enumerate(children)
        if isinstance(child, nn.ModuleList) and name.endswith(("blocks", "layers"))
    ]
    if not lists:
        return
    for name, _ in children[: lists[0]]:
        yield name, Block(None, ENTRY)
    for name, _ in children[lists[-1] + 1 :]:
        yield name, Block(None, EXIT)
    names = [children[place][0] for place in lists]
    prefixes = [f"{name}.{index}" for name in names for index in range(len(_items(transformer, name)))]
    for number, prefix in enumerate(prefixes):
        yield prefix, Block(THIRDS[3 * number // len(prefixes)], f"block{number}")


def _items(module: nn.Module, name: str) -> list[nn.Module]:
    child = getattr(module, name, None)
    return list(child) if isinstance(child, nn.ModuleList) else []


VECTORS: Mapping[int, tuple[str, ...]] = {
    12: ("te", "in4", "in5", "in7", "in8", "mid0", *(f"out{n}" for n in range(6))),
    17: ("te", "in1", "in2", "in4", "in5", "in7", "in8", "mid0", *(f"out{n}" for n in range(3, 12))),
    20: ("te", *(f"in{n}" for n in range(9)), "mid0", *(f"out{n}" for n in range(9))),
    26: ("te", *(f"in{n}" for n in range(12)), "mid0", *(f"out{n}" for n in range(12))),
    61: ("te1", "te2", ENTRY, *(f"block{n}" for n in range(57)), EXIT),
}
"""What the numbers of a block-weight vector stand for, by its length: text encoders (BASE; Flux's CLIP and T5), blocks.

61 are Flux's: CLIP, T5, IN, 19 double blocks, 38 single blocks, OUT.
"""


def ratios(vector: tuple[float, ...]) -> Mapping[str, float]:
    """A block-weight vector as a number for the text encoders and per block; blocks its length does not name have 0.

    Raises:
        ValueError: its length is none of VECTORS'.
    """
    if len(vector) not in VECTORS:
        raise ValueError(f"{len(vector)} block weights; one of {', '.join(map(str, VECTORS))} are needed.")
    return dict(zip(VECTORS[len(vector)], vector, strict=True))
