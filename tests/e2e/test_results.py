"""The strip of images and the queue, as a user meets them."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Studio
from tests.e2e.pages import infotext, opened, picture, set_number
from tests.e2e.test_accessibility import found


def test_every_image_of_the_session_stays_within_reach(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    for name, value in (("Steps", "2"), ("Batch count", "2")):
        set_number(page, name, value)
    for seed, words in (("50", "the first pair"), ("60", "the second pair")):
        page.get_by_role("spinbutton", name="Seed").fill(seed)
        page.get_by_role("spinbutton", name="Seed").press("Tab")
        prompt.fill(words)
        prompt.press("Control+Enter")
        expect(infotext(page)).to_contain_text(words)
    page.get_by_role("button", name="Earlier image 4, seed 51").click()
    expect(infotext(page)).to_contain_text("the first pair")
    expect(infotext(page)).to_contain_text("Seed: 51")
    page.get_by_role("button", name="Earlier image 4, seed 51").press("ArrowLeft")
    expect(page.get_by_role("button", name="Earlier image 3, seed 50")).to_be_focused()
    expect(infotext(page)).to_contain_text("Seed: 50")
    page.get_by_role("button", name="Restore the settings of the last image").click()
    expect(prompt).to_have_value("the first pair")
    page.keyboard.press("Escape")
    prompt.fill("explode")
    prompt.press("Control+Enter")
    expect(page.locator("#explanation .notice")).to_contain_text("no network named")
    page.reload()
    expect(infotext(page)).to_contain_text("the second pair")
    expect(picture(page)).to_be_visible()


def test_an_earlier_image_can_be_looked_at_while_the_next_is_made(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    set_number(page, "Steps", "4")
    prompt.fill("done before")
    prompt.press("Control+Enter")
    expect(infotext(page)).to_contain_text("done before")
    prompt.fill("still at it, hold")
    with studio.held():
        prompt.press("Control+Enter")
        expect(page.get_by_alt_text("The image being made")).to_be_visible()
        page.get_by_role("button", name=re.compile("^Image 1, seed")).click()
        expect(page.get_by_alt_text("The image being made")).to_be_hidden()
        expect(picture(page)).to_be_visible()
        page.get_by_role("button", name="The image being made").click()
        expect(page.get_by_alt_text("The image being made")).to_be_visible()
        assert not found(page)
    expect(infotext(page)).to_contain_text("still at it")


def test_what_waits_can_be_dropped_and_what_is_made_goes_on(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    set_number(page, "Steps", "4")
    with studio.held():
        for words in ("the one at work, hold", "second", "third"):
            prompt.fill(words)
            prompt.press("Control+Enter")
            expect(page.locator("#results .status")).not_to_have_text("Ready")  # the first has begun before the others
        page.get_by_role("button", name="Drop the 2 waiting").click()
        expect(page.locator("#results .drop")).to_be_hidden()
    expect(infotext(page)).to_contain_text("the one at work")
    expect(page.locator("#results .status")).to_have_text("Ready")
