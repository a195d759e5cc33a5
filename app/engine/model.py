"""The one model in memory, with everything that is kept for it between jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

from app.diffusion.checkpoint import DENOISERS, Checkpoint
from app.diffusion.decoding import Previewer
from app.diffusion.denoiser import Side
from app.diffusion.device import Placement, memory_errors, release_memory
from app.diffusion.loading import load_checkpoint
from app.diffusion.sampling import BeforeStep
from app.diffusion.vae import with_vae
from app.engine.encodings import Encoder
from app.engine.hypernets import HypernetworkBinder
from app.engine.library import Library, ModelFile
from app.engine.networks import NetworkBinder
from app.engine.words import WordFinder
from app.patching.hypernet import Influences, hypernetted
from app.patching.memory import MemoryMode
from app.patching.patcher import At, Patcher
from app.patching.plan import PatchPlan


@dataclass(frozen=True, slots=True)
class MemoryChoice:
    """Where pristine weights are kept while networks act, and how many bytes the networks may keep."""

    mode: MemoryMode = "auto"
    budget: int | None = None


class LoadedModel:
    """A checkpoint, the patcher that owns its weights, and what was read, matched and encoded for it."""

    def __init__(self, checkpoint: Checkpoint, library: Library, memory: MemoryChoice) -> None:
        self.checkpoint = checkpoint
        # Where components take turns on the device, copies of their weights have no place on it.
        turns = memory.mode == "auto" and checkpoint.placement.offload == "model"
        self.patcher = Patcher(checkpoint.components, "pinned" if turns else memory.mode, budget=memory.budget)
        self.encoder = Encoder(checkpoint, self.patched)
        self.binder = NetworkBinder(library.networks, checkpoint.components, checkpoint.family, library.kinds)
        self.hypernetworks = HypernetworkBinder(library.hypernetworks, checkpoint.components)
        self.words = WordFinder(library.embeddings, checkpoint)

    @contextmanager
    def patched(self, plan: PatchPlan, *names: str, first: int = 1) -> Iterator[At]:
        """The named components at work under their part of the plan, as at step `first`; yields `at(step)`.

        They are on the device before a weight is written, so that the sums are made there.

        Raises:
            OutOfMemory: the device's memory is exhausted.
        """
        checkpoint, part = self.checkpoint, plan.component(*names)
        short = memory_errors(checkpoint.placement, "applying networks")
        with short, checkpoint.at_work(*names), self.patcher.patched(part, first) as at:
            yield at

    @contextmanager
    def networked(
        self, plan: PatchPlan, influences: Influences, negative: PatchPlan | None = None
    ) -> Iterator[BeforeStep]:
        """The denoiser under its networks of all kinds: yields `at(step)`, which sets them to what they are at a step.

        Where the negative prompt has a plan of its own, `at` answers what changes between the two. The VAE is under the
        plan's first step meanwhile: previews are made with it, and a mask for inpainting.
        """
        names = [name for name in DENOISERS if name in self.checkpoint.components]
        with memory_errors(self.checkpoint.placement, "applying networks"), self.patcher.patched(plan.component("vae")):
            pass  # It stays so when the block is left, wherever it is.
        hypernets = hypernetted(self.checkpoint.components, influences)
        opposite = nullcontext() if negative is None else self.patched(negative, *names)
        with self.patched(plan, *names) as patch, opposite as oppose, hypernets as influence:

            def at(step: int) -> Side | None:
                patch(step)
                influence(step)
                return None if oppose is None else lambda negative: oppose(step) if negative else patch(step)

            yield at

    @cached_property
    def previewer(self) -> Previewer:
        """Made from the pristine VAE, at first use."""
        with self.patched(PatchPlan(1), "vae"):
            return Previewer.of(self.checkpoint)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which model a request needs, and where it is to run. Equal ones are the same model in memory."""

    checkpoint: ModelFile
    vae: ModelFile | None
    placement: Placement
    memory: MemoryChoice
    stamp: tuple[int, ...]
    vae_stamp: tuple[int, ...] = ()

    def is_but_for_the_vae(self, other: Wanted | None) -> bool:
        """Whether the other is this model with this VAE or another."""
        return other is not None and self == replace(other, vae=self.vae, vae_stamp=self.vae_stamp)


class ModelHolder:
    """Holds one model. Asking for another frees it first: two do not fit where one just does.

    Asking for another VAE loads that alone; the checkpoint's own waits in RAM meanwhile.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._wanted: Wanted | None = None
        self._own: Checkpoint | None = None
        self._model: LoadedModel | None = None

    def model(
        self,
        checkpoint: str,
        vae: str,
        placement: Placement,
        memory: MemoryChoice = MemoryChoice(),
    ) -> LoadedModel:
        """The model of these names, loaded if it is not the one in memory or its files have changed.

        Raises:
            CheckpointError: there is no such checkpoint or VAE, or it cannot be read.
        """
        wanted = self._want(checkpoint, vae, placement, memory)
        if self._model is not None and wanted == self._wanted:
            return self._model
        if self._own is not None and wanted.is_but_for_the_vae(self._wanted):
            own = self._own
            self.restore()
            self.free()
            own.vae.to("cpu")
        else:
            self.free()
            own = load_checkpoint(wanted.checkpoint.path, placement)
        self._own, self._wanted = own, wanted
        self._model = LoadedModel(with_other_vae(own, wanted.vae), self._library, memory)
        return self._model

    @property
    def kept_bytes(self) -> int:
        """What networks keep between generations: pristine weights, formed deltas, and the networks themselves."""
        if self._model is None:
            return 0
        return self._model.patcher.memory().kept + self._model.binder.nbytes + self._model.hypernetworks.nbytes

    def free(self) -> None:
        """Drop the model and give its memory back."""
        if self._own is not None:
            self._model = self._wanted = self._own = None
            release_memory()

    def restore(self) -> None:
        """Every bit of the model's weights as the file has it."""
        if self._model is not None:
            self._model.patcher.restore()

    def _want(self, checkpoint: str, vae: str, placement: Placement, memory: MemoryChoice) -> Wanted:
        file = self._library.checkpoints.find(checkpoint)
        vae_file = None if vae == "Automatic" else self._library.vaes.find(vae)
        return Wanted(file, vae_file, placement, memory, file.stamp, vae_file.stamp if vae_file else ())


def with_other_vae(checkpoint: Checkpoint, vae: ModelFile | None) -> Checkpoint:
    """The checkpoint with the VAE of a file; without one, as it is.

    Raises:
        CheckpointError: the VAE cannot be read, or is for latents of another kind.
        OutOfMemory: the memory is exhausted.
    """
    if vae is None:
        return checkpoint
    with memory_errors(checkpoint.placement, f"loading {vae.name}"):
        return with_vae(checkpoint, vae.path)
