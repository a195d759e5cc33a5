"""Where the controls stand. The scripts in static/ give the page its life; Gradio keeps the form's values."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from app.engine.engine import Engine
from app.settings import Settings
from app.ui.events import connect
from app.ui.form import Form

STATIC = Path(__file__).parent / "static"
BRIDGE = "element.addEventListener('patchbay', () => trigger('restored'))"
"""The way from a script to a Gradio event; Gradio reads the event's name here."""


def studio_page(engine: Engine, settings: Settings) -> gr.Blocks:
    """The whole page, with its events."""
    form = Form.of(engine.library, engine.library.usual(settings.generation))
    with gr.Blocks(title="Patchbay", fill_width=True, analytics_enabled=False) as blocks:
        _quick_settings(form)
        with gr.Row(elem_id="studio", equal_height=False):
            with gr.Column(scale=7, min_width=340, elem_id="asking"):
                _prompts(form)
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab("Generation", id="generation"):
                        static_part("tour")
                        _generation_settings(form)
                    with gr.Tab("Networks", id="networks"):
                        static_part("networks")
                    with gr.Tab("PNG Info", id="pnginfo"):
                        static_part("pnginfo")
                    with gr.Tab("Settings", id="settings"):
                        static_part("settings", elem_id="settings_tab")
            with gr.Column(scale=5, min_width=340, elem_id="answer"):
                _actions(form)
                static_part("results")
        bridge = static_part("bridge", script=BRIDGE)
        connect(blocks, form, bridge)
    return blocks


def static_part(name: str, script: str | None = None, elem_id: str = "") -> gr.HTML:
    """A piece of the page that the server never changes: no user's text ever goes through a template."""
    markup = (STATIC / f"{name}.html").read_text(encoding="utf-8")
    return gr.HTML(None, html_template=markup, js_on_load=script, elem_id=elem_id or name, apply_default_css=False)


def _quick_settings(form: Form) -> None:
    with gr.Row(elem_id="quick", equal_height=True):
        static_part("brand")
        form.checkpoint.render()
        form.refresh.render()
        form.vae.render()
        form.clip_skip.render()
        form.tour.render()
        form.appearance.render()


def _prompts(form: Form) -> None:
    with gr.Column(elem_id="prompts"):
        form.prompt.render()
        form.negative_prompt.render()
        static_part("explanation")


def _actions(form: Form) -> None:
    with gr.Row(elem_id="actions", equal_height=True):
        form.generate.render()
        form.interrupt.render()
        form.skip.render()
        form.restore.render()
        form.clear.render()


def _generation_settings(form: Form) -> None:
    with gr.Column(elem_id="settings"):
        with gr.Row():
            form.sampler.render()
            form.schedule_type.render()
            form.steps.render()
        with gr.Row(equal_height=True):
            form.width.render()
            form.swap.render()
            form.height.render()
        with gr.Row(elem_id="shapes"):
            for button in form.shapes.values():
                button.render()
        with gr.Row():
            form.cfg_scale.render()
            form.batch_count.render()
            form.batch_size.render()
        with gr.Row(equal_height=True):
            form.seed.render()
            form.seed_random.render()
            form.seed_reuse.render()
        with gr.Accordion("Hires. fix", open=False, elem_id="txt2img_hr"), gr.Row():
            form.hires_upscaler.render()
            form.hires_scale.render()
            form.hires_steps.render()
            form.denoising_strength.render()
        with gr.Accordion("How prompts are read", open=False), gr.Row():
            form.emphasis.render()
            form.default_strength.render()
            form.schedule_separator.render()
