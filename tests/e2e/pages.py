"""What the browser tests share: the page, opened, and its parts by the names people and screen readers use."""

from __future__ import annotations

from playwright.sync_api import Locator, Page


def opened(page: Page) -> Locator:
    """The page, opened and alive; its prompt box."""
    page.goto("/")
    page.locator("body.ready").wait_for()
    return page.get_by_role("textbox", name="Prompt", exact=True)


def number(page: Page, name: str) -> Locator:
    """The number beside a slider."""
    return page.get_by_role("spinbutton", name=f"number input for {name}")


def set_number(page: Page, name: str, value: str) -> None:
    """Type into the number beside a slider."""
    number(page, name).fill(value)
    number(page, name).press("Tab")


def infotext(page: Page) -> Locator:
    """The parameters under the image."""
    return page.locator("#results .infotext")


def picture(page: Page) -> Locator:
    """The finished image."""
    return page.locator("#results .picture img")


def networks_tab(page: Page) -> Locator:
    """The Networks tab, opened; its search box."""
    page.get_by_role("tab", name="Networks").click()
    page.locator("#networks .card").first.wait_for()
    return page.get_by_role("searchbox", name="Search networks")
