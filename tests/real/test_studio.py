"""The whole studio as it ships: the demo model behind the page, in a real browser."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.pages import infotext, opened, picture, set_number
from tests.real.conftest import ROOT, RealStudio

PROMPT = "a cat on a blue background"


def asked(page: Page, prompt: str, steps: int, count: int = 1) -> None:
    """The page, with this prompt at the demo model's size, Ctrl+Enter pressed and its request answered."""
    box = opened(page)
    for name, value in (("Width", "64"), ("Height", "64"), ("Steps", str(steps)), ("Batch count", str(count))):
        set_number(page, name, value)
    seed = page.get_by_role("spinbutton", name="Seed")
    seed.fill("7")
    seed.press("Tab")
    box.fill(prompt)
    with page.expect_response("**/app/generate"):
        box.press("Control+Enter")


def made(page: Page) -> NDArray[np.uint8]:
    """The pixels of the file behind the picture that the page shows."""
    expect(picture(page)).to_be_visible()
    body = page.request.get(picture(page).get_attribute("src") or "").body()
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def test_a_prompt_gives_a_picture_of_it_that_the_command_line_gives_too(
    page: Page, real: RealStudio, tmp_path: Path
) -> None:
    asked(page, PROMPT, steps=8)
    page.reload()
    expect(infotext(page)).to_contain_text(PROMPT)
    pixels = made(page)
    corners = np.concatenate([pixels[:6, :6], pixels[-6:, -6:]]).reshape(-1, 3).mean(axis=0)
    assert corners[2] > corners[0], "the background is not blue"
    assert np.abs(np.diff(pixels.astype(float), axis=1)).mean() < 30, "this is noise"

    out = tmp_path / "again.png"
    words = ["--size", "64x64", "--steps", "8", "--seed", "7", "--out", str(out), "--json"]
    command = real.command("generate", PROMPT, *words)
    told = subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=real.environment)
    assert json.loads(told.stdout)["seed"] == 7
    assert (np.asarray(Image.open(out)) == pixels).all()


def test_a_network_that_is_missing_is_told_and_nothing_is_made(page: Page) -> None:
    asked(page, f"{PROMPT} <lora:no_such_network:1>", steps=4)
    expect(page.locator("#explanation .notice")).to_contain_text("No network has this name")
    expect(page.get_by_text("Your image appears here.")).to_be_visible()


def test_a_network_for_another_base_is_told_and_underlined_before_anything_is_made(page: Page) -> None:
    box = opened(page)
    tag = "<lora:made-for-sdxl:1>"
    box.fill(f"a cat, <lora:pixel-art:1> {tag}")
    expect(page.locator("#explanation .active > li").last).to_contain_text("nothing of it is applied")
    expect(page.locator("#txt2img_prompt .highlight .problem.error")).to_have_text(tag)
    box.fill(f"a cat, [{tag}::0]")
    expect(page.locator("#explanation .active > li.off")).to_be_visible()
    expect(page.locator("#txt2img_prompt .highlight .problem")).to_have_count(0)


def test_interrupt_keeps_the_picture_there_is(page: Page) -> None:
    asked(page, f"{PROMPT}, stopped", steps=150, count=50)
    expect(page.get_by_role("progressbar", name="Progress")).not_to_have_attribute("aria-valuenow", "0")
    page.get_by_role("button", name="Interrupt").click()
    expect(infotext(page)).to_contain_text("Interrupted after step")
    assert made(page).shape == (64, 64, 3)


def test_the_same_seed_gives_the_same_pixels_after_a_restart(page: Page, real: RealStudio) -> None:
    asked(page, f"{PROMPT}, before", steps=4)
    expect(infotext(page)).to_contain_text("before")
    before = made(page)
    real.stop()
    real.start()
    asked(page, f"{PROMPT}, before", steps=4)
    expect(infotext(page)).to_contain_text("before")
    assert (made(page) == before).all()
