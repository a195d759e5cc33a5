"""The tour, as a user meets it."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from tests.e2e.pages import infotext, number, opened


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


def test_from_another_tab_it_opens_where_it_stands(page: Page) -> None:
    opened(page)
    tour = page.get_by_role("region", name="Tour")
    tour.get_by_role("button", name="Close the tour").click()
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("button", name="Tour", exact=True).click()
    expect(tour.get_by_role("button", name="Words")).to_be_focused()


def test_on_a_phone_the_tour_overflows_nothing(browser: Browser, base_url: str) -> None:
    context = browser.new_context(base_url=base_url, viewport={"width": 390, "height": 844}, has_touch=True)
    phone = context.new_page()
    opened(phone)
    phone.get_by_role("button", name="Words").tap()
    expect(phone.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a lighthouse")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    tour, settings = (phone.locator(place).bounding_box() for place in ("#tour", "#settings"))
    assert tour and settings and tour["y"] < settings["y"]
    context.close()
