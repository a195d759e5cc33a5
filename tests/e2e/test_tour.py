"""The tour, and the strip of images, as a user meets them."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import Studio
from tests.e2e.pages import infotext, number, opened, picture, set_number


def test_a_stop_fills_the_form_and_its_image_comes(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("what I was writing")
    tour = page.get_by_role("region", name="Tour")
    expect(tour.get_by_role("button", name="Not here")).to_have_count(0)
    tour.get_by_role("button", name="A network").click()
    expect(prompt).to_have_value("a lighthouse <lora:ink_wash_0000:0.8>")
    expect(number(page, "Width")).to_have_value("128")
    expect(tour.get_by_role("button", name="A network")).to_have_attribute("aria-pressed", "true")
    tour.get_by_role("button", name="Generate it").click()
    expect(infotext(page)).to_contain_text(
        "Steps: 3, Sampler: Euler a, Schedule type: Automatic, CFG scale: 4.5, Seed: 5"
    )
    tour.get_by_role("button", name="Put back what I had").click()
    expect(prompt).to_have_value("what I was writing")
    expect(number(page, "Width")).to_have_value("512")
    expect(tour.get_by_role("button", name="A network")).to_have_attribute("aria-pressed", "false")


def test_typing_leaves_the_tour_s_prompt_behind(page: Page) -> None:
    prompt = opened(page)
    tour = page.get_by_role("region", name="Tour")
    tour.get_by_role("button", name="Words").click()
    expect(prompt).to_have_value("a lighthouse")
    prompt.press("End")
    prompt.press_sequentially(" at dawn")
    expect(tour.get_by_role("button", name="Generate it")).to_be_hidden()
    expect(tour.get_by_role("status")).to_have_text("Click a prompt to try it.")


def test_the_tour_stays_closed_until_it_is_asked_for_by_keyboard_too(page: Page) -> None:
    opened(page)
    tour = page.get_by_role("region", name="Tour")
    tour.get_by_role("button", name="Close the tour").focus()
    page.keyboard.press("Enter")
    expect(tour).to_be_hidden()
    button = page.get_by_role("button", name="Tour", exact=True)
    expect(button).to_be_focused()
    page.reload()
    page.locator("body.ready").wait_for()
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(tour).to_be_hidden()
    button.press("Enter")
    expect(tour.get_by_role("button", name="Words")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(re.compile("ink_wash_0000"))


def test_on_a_phone_the_tour_overflows_nothing(browser: Browser, base_url: str) -> None:
    context = browser.new_context(base_url=base_url, viewport={"width": 390, "height": 844}, has_touch=True)
    phone = context.new_page()
    opened(phone)
    phone.get_by_role("button", name="Words").tap()
    expect(phone.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a lighthouse")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


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
    expect(infotext(page)).to_contain_text("still at it")
