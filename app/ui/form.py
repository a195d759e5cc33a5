"""The generation form: every control once, under the name of the request's field that it fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from app.engine.library import Library
from app.generation.choices import SAMPLERS, SCHEDULE_TYPES, Choice
from app.generation.request import EMPHASIS_MODES, UPSCALERS
from app.settings.model import GenerationSettings

AUTOMATIC = "Automatic"
IDS = {
    "checkpoint": "checkpoint",
    "vae": "vae",
    "clip_skip": "clip_skip",
    "prompt": "txt2img_prompt",
    "negative_prompt": "txt2img_neg_prompt",
    "sampler": "txt2img_sampling",
    "schedule_type": "txt2img_scheduler",
    "steps": "txt2img_steps",
    "width": "txt2img_width",
    "height": "txt2img_height",
    "batch_count": "txt2img_batch_count",
    "batch_size": "txt2img_batch_size",
    "cfg_scale": "txt2img_cfg_scale",
    "seed": "txt2img_seed",
    "emphasis": "txt2img_emphasis",
    "default_strength": "txt2img_default_strength",
    "schedule_separator": "txt2img_schedule_separator",
    "hires_scale": "txt2img_hr_scale",
    "hires_steps": "txt2img_hires_steps",
    "hires_upscaler": "txt2img_hr_upscaler",
    "denoising_strength": "txt2img_denoising_strength",
}
"""The element of each field: the ids that users of other web UIs know from their scripts."""
ACTIVE: dict[str, Any] = {"interactive": True, "render": False}
"""Gradio disables what no event writes to, unless it is told not to."""
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
    default_strength: gr.Number
    schedule_separator: gr.Dropdown
    hires_scale: gr.Slider
    hires_steps: gr.Slider
    hires_upscaler: gr.Dropdown
    denoising_strength: gr.Slider
    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    refresh: gr.Button
    tour: gr.Button
    appearance: gr.Button
    restore: gr.Button
    clear: gr.Button
    swap: gr.Button
    seed_random: gr.Button
    seed_reuse: gr.Button
    shapes: dict[str, gr.Button]

    @classmethod
    def of(cls, library: Library, usual: GenerationSettings) -> Form:
        """The form for the models there are, holding the `usual` values. Nothing is rendered yet."""
        return cls(**_Controls(library, usual).made(), **_buttons())

    def controls(self) -> dict[str, Component]:
        """Every control by the name of the request's field that it fills."""
        return {name: getattr(self, name) for name in IDS}


@dataclass(frozen=True, slots=True)
class _Controls:
    library: Library
    usual: GenerationSettings

    def made(self) -> dict[str, Component]:
        checkpoints = [model.name for model in self.library.checkpoints.entries()]
        vaes = [AUTOMATIC, *(model.name for model in self.library.vaes.entries())]
        return {
            "checkpoint": self.choice("Checkpoint", "checkpoint", checkpoints, filterable=True, scale=4, min_width=200),
            "vae": self.choice("VAE", "vae", vaes, scale=2),
            "clip_skip": self.slider("Clip skip", "clip_skip", (1, 12, 1), min_width=150, scale=2),
            "prompt": self.text("Prompt", "prompt", 3, "What to draw. Type < for a network; Ctrl+Enter generates."),
            "negative_prompt": self.text("Negative prompt", "negative_prompt", 2, "What to keep out."),
            "sampler": self.choice("Sampler", "sampler", _names(SAMPLERS)),
            "schedule_type": self.choice("Schedule type", "schedule_type", _names(SCHEDULE_TYPES)),
            "steps": self.slider("Steps", "steps", (1, 150, 1)),
            "width": self.slider("Width", "width", (64, 2048, 8)),
            "height": self.slider("Height", "height", (64, 2048, 8)),
            "batch_count": self.slider("Batch count", "batch_count", (1, 100, 1), min_width=110),
            "batch_size": self.slider("Batch size", "batch_size", (1, 16, 1), min_width=110),
            "cfg_scale": self.slider("CFG scale", "cfg_scale", (1, 30, 0.5)),
            "seed": self.seed(),
            "emphasis": self.choice("Emphasis", "emphasis", EMPHASIS_MODES),
            "default_strength": self.default_strength(),
            "schedule_separator": self.schedule_separator(),
            "hires_scale": self.slider("Upscale by", "hires_scale", (1, 4, 0.05)),
            "hires_steps": self.slider("Hires steps", "hires_steps", (0, 150, 1)),
            "hires_upscaler": self.choice("Upscaler", "hires_upscaler", UPSCALERS),
            "denoising_strength": self.slider("Denoising", "denoising_strength", (0, 1, 0.01)),
        }

    def choice(self, label: str, field: str, names: Sequence[str], **layout: Any) -> gr.Dropdown:
        usual = getattr(self.usual, field)
        value = usual if usual in names else next(iter(names), None)
        layout = {"filterable": False, "min_width": 120} | layout
        return gr.Dropdown(list(names), value=value, label=label, elem_id=IDS[field], **ACTIVE, **layout)

    def slider(self, label: str, field: str, bounds: tuple[float, float, float], **layout: Any) -> gr.Slider:
        low, high, step = bounds
        value = getattr(self.usual, field)
        layout = {"min_width": 140, "buttons": []} | layout
        return gr.Slider(low, high, value, step=step, label=label, elem_id=IDS[field], **ACTIVE, **layout)

    def text(self, label: str, field: str, lines: int, placeholder: str) -> gr.Textbox:
        value = getattr(self.usual, field)
        layout = {"lines": lines, "max_lines": 14, "placeholder": placeholder}
        return gr.Textbox(value, label=label, elem_id=IDS[field], **ACTIVE, **layout)

    def seed(self) -> gr.Number:
        layout = {"precision": 0, "min_width": 120, "scale": 3}
        return gr.Number(self.usual.seed, label="Seed", elem_id=IDS["seed"], **ACTIVE, **layout)

    def default_strength(self) -> gr.Number:
        layout: dict[str, Any] = {"minimum": -10, "maximum": 10, "step": 0.05, "min_width": 120}
        elem_id = IDS["default_strength"]
        return gr.Number(None, label="Default strength", placeholder="setting", elem_id=elem_id, **ACTIVE, **layout)

    def schedule_separator(self) -> gr.Dropdown:
        choices = [("As in the settings", ""), ("Switches", "switch"), ("Ramps", "ramp")]
        layout: dict[str, Any] = {"filterable": False, "min_width": 120, "elem_id": IDS["schedule_separator"]}
        return gr.Dropdown(choices, value="", label="A comma in a schedule", **ACTIVE, **layout)


def _names(choices: Sequence[Choice]) -> list[str]:
    return [choice.name for choice in choices]


def _buttons() -> dict[str, Any]:
    return {
        "generate": _button("Generate", "txt2img_generate", variant="primary", scale=4, min_width=140),
        "interrupt": _button("Interrupt", "txt2img_interrupt", variant="stop", size="sm", scale=1, min_width=76),
        "skip": _button("Skip", "txt2img_skip", size="sm", scale=1, min_width=56),
        "refresh": _icon("Refresh the lists of models", "refresh"),
        "tour": _icon("Tour", "tour_button"),
        "appearance": _icon("Light or dark", "appearance"),
        "restore": _icon("Restore the settings of the last image", "restore"),
        "clear": _icon("Clear both prompts", "clear"),
        "swap": _icon("Swap width and height", "txt2img_res_switch_btn"),
        "seed_random": _icon("Random seed", "txt2img_random_seed"),
        "seed_reuse": _icon("Reuse the last seed", "txt2img_reuse_seed"),
        "shapes": {shape: _button(shape, None, size="sm", min_width=40, elem_classes="shape") for shape in SHAPES},
    }


def _button(label: str, elem_id: str | None, **layout: Any) -> gr.Button:
    return gr.Button(label, elem_id=elem_id, render=False, **layout)


def _icon(label: str, elem_id: str) -> gr.Button:
    """A button drawn as an icon by the style sheet; its label is its name and its tooltip."""
    return _button(label, elem_id, elem_classes="icon", size="sm", min_width=32, scale=0)
