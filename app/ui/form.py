"""The generation form: every control once, under the name of the request's field that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from app.generation.request import EMPHASIS_MODES, GenerationRequest
from app.ui.studio import Studio

AUTOMATIC = "Automatic"
DEFAULTS = GenerationRequest()
FIELD_OF = {"txt2img_sampling": "sampler", "txt2img_scheduler": "schedule_type", "txt2img_emphasis": "emphasis"}
"""The field that a choice fills, where its id (the one other web UIs gave it) says otherwise."""
SHAPES = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16")
"""Aspect presets, width to height; each keeps the picture's area."""


@dataclass(frozen=True, slots=True)
class Form:
    """The controls, named as the fields of `GenerationRequest`, and the buttons about them."""

    checkpoint: gr.Dropdown
    vae: gr.Dropdown
    clip_skip: gr.Slider
    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    sampler: gr.Dropdown
    schedule_type: gr.Dropdown
    steps: gr.Slider
    width: gr.Slider
    height: gr.Slider
    batch_count: gr.Slider
    batch_size: gr.Slider
    cfg_scale: gr.Slider
    seed: gr.Number
    emphasis: gr.Dropdown
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    refresh: gr.Button
    appearance: gr.Button
    restore: gr.Button
    clear: gr.Button
    swap: gr.Button
    seed_random: gr.Button
    seed_reuse: gr.Button
    shapes: dict[str, gr.Button]

    @classmethod
    def of(cls, engine: Studio) -> Form:
        """The form of `engine`: its models, samplers and schedule types. Nothing is rendered yet."""
        return cls(**_controls(engine), **_buttons())

    def controls(self) -> dict[str, Component]:
        """Every control by the name of the request's field that it fills."""
        return {field.name: getattr(self, field.name) for field in fields(GenerationRequest)}


def _controls(engine: Studio) -> dict[str, Component]:
    checkpoints = list(engine.library.checkpoints())
    vaes = [AUTOMATIC, *(name for name in engine.library.vaes() if name != AUTOMATIC)]
    return {
        "checkpoint": _choice("Checkpoint", "checkpoint", checkpoints, filterable=True, scale=4, min_width=200),
        "vae": _choice("VAE", "vae", vaes, scale=2),
        "clip_skip": _slider("Clip skip", "clip_skip", (1, 12, 1), min_width=150, scale=2),
        "prompt": _text("Prompt", "txt2img_prompt", 3, "What to draw. Type < for a network; Ctrl+Enter generates."),
        "negative_prompt": _text("Negative prompt", "txt2img_neg_prompt", 2, "What to keep out."),
        "sampler": _choice("Sampler", "txt2img_sampling", engine.samplers()),
        "schedule_type": _choice("Schedule type", "txt2img_scheduler", engine.schedule_types()),
        "steps": _slider("Steps", "txt2img_steps", (1, 150, 1)),
        "width": _slider("Width", "txt2img_width", (64, 2048, 8)),
        "height": _slider("Height", "txt2img_height", (64, 2048, 8)),
        "batch_count": _slider("Batch count", "txt2img_batch_count", (1, 100, 1), min_width=110),
        "batch_size": _slider("Batch size", "txt2img_batch_size", (1, 16, 1), min_width=110),
        "cfg_scale": _slider("CFG scale", "txt2img_cfg_scale", (1, 30, 0.5)),
        "seed": _seed(),
        "emphasis": _choice("Emphasis", "txt2img_emphasis", EMPHASIS_MODES),
    }


def _buttons() -> dict[str, Any]:
    return {
        "generate": _button("Generate", "txt2img_generate", variant="primary"),
        "interrupt": _button("Interrupt", "txt2img_interrupt", variant="stop", size="sm", min_width=60),
        "skip": _button("Skip", "txt2img_skip", size="sm", min_width=60),
        "refresh": _icon("Refresh the lists of models", "refresh"),
        "appearance": _icon("Light or dark", "appearance"),
        "restore": _icon("Restore the settings of the last image", "restore"),
        "clear": _icon("Clear both prompts", "clear"),
        "swap": _icon("Swap width and height", "txt2img_res_switch_btn"),
        "seed_random": _icon("Random seed", "txt2img_random_seed"),
        "seed_reuse": _icon("Reuse the last seed", "txt2img_reuse_seed"),
        "shapes": {shape: _button(shape, None, size="sm", min_width=40, elem_classes="shape") for shape in SHAPES},
    }


def _choice(label: str, elem_id: str, names: Sequence[str], **layout: Any) -> gr.Dropdown:
    usual = getattr(DEFAULTS, FIELD_OF.get(elem_id, elem_id))
    value = usual if usual in names else next(iter(names), None)
    layout = {"filterable": False, "min_width": 120} | layout
    return gr.Dropdown(list(names), value=value, label=label, elem_id=elem_id, interactive=True, render=False, **layout)


def _slider(label: str, elem_id: str, bounds: tuple[float, float, float], **layout: Any) -> gr.Slider:
    low, high, step = bounds
    value = getattr(DEFAULTS, elem_id.removeprefix("txt2img_"))
    layout = {"min_width": 140, "buttons": []} | layout
    return gr.Slider(low, high, value, step=step, label=label, elem_id=elem_id, interactive=True, render=False, **layout)


def _text(label: str, elem_id: str, lines: int, placeholder: str) -> gr.Textbox:
    return gr.Textbox(
        label=label,
        elem_id=elem_id,
        lines=lines,
        max_lines=14,
        placeholder=placeholder,
        interactive=True,
        render=False,
    )


def _seed() -> gr.Number:
    """The first image's seed; −1 asks for a random one."""
    return gr.Number(
        DEFAULTS.seed,
        label="Seed",
        elem_id="txt2img_seed",
        precision=0,
        min_width=120,
        scale=3,
        interactive=True,
        render=False,
    )


def _button(label: str, elem_id: str | None, **layout: Any) -> gr.Button:
    return gr.Button(label, elem_id=elem_id, render=False, **layout)


def _icon(label: str, elem_id: str) -> gr.Button:
    """A button drawn as an icon by the style sheet; its label is its name and its tooltip."""
    return _button(label, elem_id, elem_classes="icon", size="sm", min_width=32, scale=0)
