"""What each button does. Every event runs in the browser: the form's values stay there; requests go to our routes."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from app.ui.form import Form

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
"""For every event: none is part of the HTTP API, and none waits behind another."""


def connect(blocks: gr.Blocks, form: Form, bridge: gr.HTML) -> None:
    """Connect the controls of `form` to the page's scripts."""
    controls = form.controls()
    every = list(controls.values())
    whole_form = {"fn": None, "inputs": every, "outputs": every, **QUIET}

    def with_names(method: str) -> str:
        return script(method, list(controls))

    recalled = blocks.load(js=with_names("recall"), **whole_form)
    bridge.restored(js=with_names("takeRestored"), **whole_form)
    form.restore.click(js=with_names("restoreLast"), **whole_form)
    form.generate.click(None, every, None, js=with_names("generate"), **QUIET)
    gr.on([control.change for control in every], None, every, None, js=with_names("remember"), **QUIET)
    models = [form.checkpoint, form.vae]
    # A list may have changed since the page was built, and a model that the form remembers may be gone.
    recalled.then(None, models, models, js=script("refreshModels"), **QUIET)
    form.refresh.click(None, models, models, js=script("refreshModels"), **QUIET)
    form.seed_random.click(None, None, form.seed, js="() => -1", **QUIET)
    form.seed_reuse.click(None, form.seed, form.seed, js=script("lastSeed"), **QUIET)
    size = [form.width, form.height]
    form.swap.click(None, size, size, js="(width, height) => [height, width]", **QUIET)
    chosen = [form.checkpoint, *size]
    form.checkpoint.input(None, chosen, size, js=script("adoptSize"), **QUIET)
    for shape, button in form.shapes.items():
        button.click(None, size, size, js=script("reshape", shape), **QUIET)


def script(method: str, *arguments: Any) -> str:
    """A script that calls `method` of static/boot.js with the event's values, then with `arguments`."""
    given = "".join(f", {json.dumps(argument)}" for argument in arguments)
    return f"async (...values) => (await window.patchbay).{method}(values{given})"
