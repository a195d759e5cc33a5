"""The texts of a run as the denoiser takes them: each distinct (text, text-encoder weights) is encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Conditioning, Encoding, EncodingOptions, Vocabulary, encode
from app.generation.request import GenerationRequest
from app.patching.plan import PatchPlan
from app.prompt.emphasis import branches, fragments
from app.prompt.schedule import PromptSchedule

Patched = Callable[..., AbstractContextManager[object]]
"""LoadedModel.patched: components at work under a plan."""

KEPT = 128
"""Encodings kept between runs: a tenth of a megabyte each on SD 1.x, for a short prompt."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What a run says: both prompts over the steps, the words they may use, and what moves the text encoders.

    `networks` identifies the files behind the plan, so that equal strengths of another file are another key.
    """

    positive: PromptSchedule
    negative: PromptSchedule
    vocabulary: Vocabulary
    plan: PatchPlan
    networks: Hashable
    words: Hashable


class Encoder:
    """Encodes for one loaded checkpoint and remembers."""

    def __init__(self, checkpoint: Checkpoint, patched: Patched) -> None:
        self._checkpoint = checkpoint
        self._patched = patched
        self._known: OrderedDict[Hashable, Encoding] = OrderedDict()

    def conditionings(self, request: GenerationRequest, texts: Texts) -> tuple[Conditioning, ...]:
        """The conditioning of each step. Steps of one text and one state of the text encoders share one object."""
        plan = texts.plan.component(*self._checkpoint.text_encoders)
        positive, negative = _by_step(texts.positive), _by_step(texts.negative)
        distinct: dict[Hashable, list[int]] = {}
        for step in range(1, plan.steps + 1):
            distinct.setdefault((plan.state(step), positive[step - 1], negative[step - 1]), []).append(step)
        found: dict[int, Conditioning] = {}
        for steps in distinct.values():
            made = self._conditioning(request, texts, plan, steps[0])
            found.update(dict.fromkeys(steps, made))
        return tuple(found[step] for step in range(1, plan.steps + 1))

    def _conditioning(self, request: GenerationRequest, texts: Texts, plan: PatchPlan, step: int) -> Conditioning:
        stages = _by_step(texts.positive)[step - 1], _by_step(texts.negative)[step - 1]
        wanted = [(branch.text, branch.weight, False) for branch in branches(stages[0])] + [(stages[1], 1.0, True)]
        keys = [self._key(request, texts, plan, step, text, negative) for text, _, negative in wanted]
        if not all(key in self._known for key in keys):
            with self._patched(plan, *self._checkpoint.text_encoders, first=step):
                for key, (text, _, negative) in zip(keys, wanted, strict=True):
                    if key not in self._known:
                        self._known[key] = self._encode(request, texts.vocabulary, text, negative)
        encodings = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > max(KEPT, len(keys)):
            self._known.popitem(last=False)
        weights = [weight for _, weight, negative in wanted if not negative]
        return Conditioning(tuple(zip(encodings[:-1], weights, strict=True)), encodings[-1])

    def _key(
        self, request: GenerationRequest, texts: Texts, plan: PatchPlan, step: int, text: str, negative: bool
    ) -> Hashable:
        state = plan.state(step)
        moved = (texts.networks, state) if state else ()
        return text, negative, request.clip_skip, request.emphasis, texts.words, moved

    def _encode(self, request: GenerationRequest, vocabulary: Vocabulary, text: str, negative: bool) -> Encoding:
        zero = negative and self._checkpoint.zero_empty_negative
        options = EncodingOptions(request.clip_skip, request.emphasis, zero)
        parts = fragments(text, parsed=request.emphasis != "None")
        return encode(self._checkpoint, parts, options, vocabulary)


def _by_step(schedule: PromptSchedule) -> tuple[str, ...]:
    return tuple(stage.text for stage in schedule.stages for _ in range(stage.first, stage.last + 1))
