"""The texts of a run as the denoiser takes them: each distinct (text, text-encoder weights) is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Conditioning, Encoding, EncodingOptions, Vocabulary, encode
from app.engine.recent import Recent
from app.generation.request import GenerationRequest
from app.patching.plan import PatchPlan
from app.prompt.emphasis import branches, fragments
from app.prompt.schedule import PromptSchedule

Patched = Callable[..., AbstractContextManager[object]]
"""LoadedModel.patched: components at work under a plan."""

KEPT = 256 << 20
"""Bytes of encodings kept between runs: a tenth of a megabyte each on SD 1.x for a short prompt, 4 of them on Flux."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What a run says: both prompts over the steps, the words they may use, and what moves the text encoders.

    `plans` are what the prompt and the negative prompt are encoded under. `networks` identifies the files behind them,
    so that equal strengths of another file are another key.
    """

    positive: PromptSchedule
    negative: PromptSchedule
    vocabulary: Vocabulary
    plans: tuple[PatchPlan, PatchPlan]
    networks: Hashable
    words: Hashable


class Encoder:
    """Encodes for one loaded checkpoint and remembers."""

    def __init__(self, checkpoint: Checkpoint, patched: Patched) -> None:
        self._checkpoint = checkpoint
        self._patched = patched
        self._known: Recent[Encoding] = Recent(KEPT)

    def conditionings(self, request: GenerationRequest, texts: Texts) -> tuple[Conditioning, ...]:
        """The conditioning of each step. Steps of one text and one state of the text encoders share one object."""
        plans = [plan.component(*self._checkpoint.text_encoders) for plan in texts.plans]
        sides = list(zip((False, True), plans, map(_by_step, (texts.positive, texts.negative)), strict=True))
        distinct: dict[Hashable, list[int]] = {}
        for step in range(1, plans[0].steps + 1):
            said = tuple((plan.state(step), by_step[step - 1]) for _, plan, by_step in sides)
            distinct.setdefault(said, []).append(step)
        found: dict[int, Conditioning] = {}
        for steps in distinct.values():
            first = steps[0]
            positive, (opposite,) = (
                self._encoded(request, texts, plan, first, (by_step[first - 1], negative))
                for negative, plan, by_step in sides
            )
            found.update(dict.fromkeys(steps, Conditioning(positive, opposite[0])))
        return tuple(found[step] for step in range(1, plans[0].steps + 1))

    def _encoded(
        self, request: GenerationRequest, texts: Texts, plan: PatchPlan, step: int, side: tuple[str, bool]
    ) -> tuple[tuple[Encoding, float], ...]:
        """A prompt at a step, branch by branch with their weights; a negative one has no branches."""
        text, negative = side
        wanted = [(text, 1.0)] if negative else [(branch.text, branch.weight) for branch in branches(text)]
        state = plan.state(step)
        moved = (texts.networks, state) if state else ()
        about = (negative, request.clip_skip, request.emphasis, texts.words, moved)
        known = all((one, about) in self._known for one, _ in wanted)
        with nullcontext() if known else self._patched(plan, *self._checkpoint.text_encoders, first=step):
            return tuple(
                (
                    self._known.take((one, about), partial(self._encode, request, texts.vocabulary, one, negative)),
                    weight,
                )
                for one, weight in wanted
            )

    def _encode(
        self, request: GenerationRequest, vocabulary: Vocabulary, text: str, negative: bool
    ) -> tuple[Encoding, int]:
        """A text's encoding, and its bytes."""
        zero = negative and self._checkpoint.zero_empty_negative
        options = EncodingOptions(request.clip_skip, request.emphasis, zero)
        parts = fragments(text, parsed=request.emphasis != "None")
        made = encode(self._checkpoint, parts, options, vocabulary)
        return made, made.hidden.nbytes + (0 if made.pooled is None else made.pooled.nbytes)


def _by_step(schedule: PromptSchedule) -> tuple[str, ...]:
    return tuple(stage.text for stage in schedule.stages for _ in range(stage.first, stage.last + 1))
