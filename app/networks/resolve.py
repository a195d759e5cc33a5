"""A network on a live model: which parameters it changes, and what of it has no place there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from torch import Tensor

from app.errors import Problem
from app.networks.adapters import Adapter, Beside
from app.networks.composed import Widened
from app.networks.direct import Gain
from app.networks.files import Network
from app.networks.identity import UNKNOWN
from app.networks.keys import Model, Names, names
from app.networks.placed import Pieces, Pristine, RowsPatch
from app.networks.places import Place
from app.networks.prefixes import DENOISERS


class PlacedPatch(Protocol):
    """One change of one parameter, ready to be made."""

    @property
    def rank(self) -> int | None: ...

    @property
    def sources(self) -> tuple[str, ...]:
        """The parameters whose pristine weights `delta` asks for."""

    def delta(self, pristine: Pristine) -> Tensor:
        """The float32 difference at strength 1, of the parameter's shape, on the device of its pristine weight."""

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """up (out, r) and down (r, in·kernel) in float32: delta is their product, reshaped; None if not low-rank."""

    def truncated(self, ranks: int) -> PlacedPatch:
        """The patch with its first `ranks` ranks alone."""


@dataclass(frozen=True, slots=True)
class Match:
    """A network on a model. `patches` go by "unet.down_blocks.0….to_q.weight"; the counts are the file's modules."""

    network: Network
    patches: Mapping[str, tuple[PlacedPatch, ...]]
    matched: int
    unmatched: tuple[str, ...]
    mismatched: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True)
class _Tally:
    """What has been found so far."""

    patches: dict[str, list[PlacedPatch]] = field(default_factory=dict)
    matched: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def resolve(network: Network, model: Model, family: str) -> Match:
    """Find the place of every module of the network in the model, by name and shape.

    `family` is the model's (see `identity`); "unknown" takes any file by names and shapes alone. A file for another
    base changes nothing: its Match has no patches, and an error among its problems that gives the counts.
    """
    table = names(model)
    tally = _Tally()
    for module in network.modules:
        _place(network, module, table, tally)
    return _judged(network, family, tally)


def _place(network: Network, module: str, table: Names, tally: _Tally) -> None:
    """Find the place of one module, and note its patches or what is amiss."""
    weight, bias = network.adapters.get(module), network.biases.get(module)
    found = list(table.find(module))
    if not found or (weight is None and bias is None):
        tally.unmatched.append(module)
        return
    weight = _widened(weight, found[0][1], table)
    fitting = [(component, place) for component, place in found if not _misfit(weight, bias, place, table)]
    if not fitting:
        tally.mismatched.append(module)
        tally.reasons.append(f"{module}: {_misfit(weight, bias, found[0][1], table)}")
        return
    tally.matched.append(module)
    for place in _chosen(fitting, network.path):
        patches = [] if weight is None else list(_patches(weight, _weights(place), (), table.shapes))
        if bias is not None and _biases(place):
            beside = _weights(place) if isinstance(bias, Beside) else ()
            patches += _patches(bias, _biases(place), beside, table.shapes)
        for target, patch in patches:
            if target not in table.absent or not isinstance(bias, Gain):  # a gain of no bias is nothing
                tally.patches.setdefault(target, []).append(patch)


INPUTS = frozenset(
    f"{denoiser}.{name}.weight"
    for denoiser in DENOISERS
    for name in (
        "conv_in", "x_embedder", "x_embedder.proj", "pos_embed.proj", "img_in", "patch_embed.proj", "patch_embedding",
    )
)  # fmt: skip
"""Where latents enter a denoiser; an inpainting or control model has channels more there, behind those of its base."""


def _widened(weight: Adapter | None, place: Place, table: Names) -> Adapter | None:
    """The adapter of a layer where latents enter, made to fit one that reads more of them; else itself."""
    shape = table.shapes[place[0].weight]
    if weight is None or place[0].weight not in INPUTS or weight.fits(shape):
        return weight
    columns, taps = weight.size[1], math.prod(shape[2:])
    if columns is None or columns % taps or columns // taps >= shape[1]:
        return weight
    wide = Widened(weight, columns // taps, shape[1])
    return wide if wide.fits(shape) else weight


def _weights(place: Place) -> Pieces:
    return tuple((piece.weight, piece.start, piece.stop) for piece in place)


def _biases(place: Place) -> Pieces:
    """The same rows of the biases, those not there included; none if a part can have no bias."""
    pieces = tuple((piece.bias, piece.start, piece.stop) for piece in place if piece.bias is not None)
    return pieces if len(pieces) == len(place) else ()


def _misfit(weight: Adapter | None, bias: Adapter | None, place: Place, table: Names) -> str:
    """Why the adapters do not belong there; empty if they do."""
    rows = sum(piece.height for piece in place)
    shapes = {table.shapes[piece.weight][1:] for piece in place}
    if len(shapes) > 1:
        return "the parts of the fused module have different widths"
    shape = (rows, *shapes.pop())
    if weight is not None and not weight.fits(shape):
        said = f"the file has {_shown(weight)}, the model {' × '.join(map(str, shape))}"
        wider = place[0].weight in INPUTS and (weight.size[1] or 0) > math.prod(shape[1:])
        return f"{said}: it is for an inpainting or control model, which reads more channels" if wider else said
    if bias is None or (isinstance(bias, Gain) and not _biases(place)):  # a gain of no bias is nothing
        return ""
    if not _biases(place):
        return "the file has a bias, and the model's layer can have none"
    fits = bias.fits((rows, 1 + math.prod(shape[1:])) if isinstance(bias, Beside) else (rows,))
    return "" if fits else f"the file's bias has {bias.size[0]} numbers, the model's {rows}"


def _shown(adapter: Adapter) -> str:
    rows, columns = adapter.size
    return f"{rows or 'any'} × {columns or 'any'} ({adapter.algorithm})"


def _chosen(fitting: Sequence[tuple[str, Place]], path: Path) -> list[Place]:
    """Of several components that a name fits: every denoiser (two-stage models), else the one the path names."""
    denoisers = [place for component, place in fitting if component in DENOISERS]
    if denoisers:
        return denoisers
    told = [place for component, place in fitting if component in (path.name, path.stem, path.parent.name)]
    return [(told or [place for _, place in fitting])[0]]


def _patches(
    adapter: Adapter, pieces: Pieces, beside: Pieces, shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, RowsPatch]]:
    """One patch for each parameter that the pieces lie in; of their own rows alone where the adapter can be split."""
    targets = dict.fromkeys(name for name, _, _ in pieces)
    if len(targets) == 1:
        (target,) = targets
        yield target, RowsPatch(adapter, target, shapes[target], pieces, beside)
        return
    top = 0
    for index, (target, start, stop) in enumerate(pieces):
        own = adapter.rows(top, top + stop - start)
        top += stop - start
        if own is None:
            yield target, RowsPatch(adapter, target, shapes[target], pieces, beside)
        else:
            mine = slice(index, index + 1)
            yield target, RowsPatch(own, target, shapes[target], pieces[mine], beside[mine])


def _judged(network: Network, family: str, tally: _Tally) -> Match:
    """The match, or its refusal where the file is for another base."""
    matched, amiss = len(tally.matched), len(tally.mismatched) + len(tally.unmatched)
    counts = f"{matched} of {matched + amiss} modules fit, {len(tally.mismatched)} have another shape"
    counts += f" and {len(tally.unmatched)} have no place in the model"
    base = network.base
    name = network.path.name
    wrong = ""
    if UNKNOWN not in (family, base.family) and family != base.family:
        wrong = f"{name} was made for {base.family} ({base.reason}) and this model is {family}"
    elif (tally.mismatched and matched < amiss) or (amiss and not matched):
        kind = "" if base.family == UNKNOWN else f"; it was made for {base.family} ({base.reason})"
        wrong = f"{name} does not belong to this model{kind}"
    source = str(network.path)
    problems: list[Problem] = []
    if wrong:
        hint = "Choose a checkpoint of its base model, or take the tag out."
        problems.append(Problem("error", f"{wrong}: nothing of it is applied ({counts}).", hint=hint, source=source))
    elif amiss:
        examples = "; ".join(example[:200] for example in [*tally.reasons[:2], *tally.unmatched[:2]])
        problems.append(Problem("warning", f"{name}: {counts}. For example: {examples}.", source=source))
    patches = {} if wrong else {target: tuple(found) for target, found in tally.patches.items()}
    return Match(
        network, MappingProxyType(patches), matched, tuple(tally.unmatched), tuple(tally.mismatched), tuple(problems)
    )
