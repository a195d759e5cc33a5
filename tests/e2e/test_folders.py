"""The folders of the networks as a tree beside the cards, and as a drawer on a phone."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NETWORKS
from tests.e2e.pages import networks_tab, opened


def test_folders_are_a_tree_that_counts_what_is_searched_for(page: Page) -> None:
    opened(page)
    search = networks_tab(page)
    tree = page.get_by_role("tree", name="Folders")
    every = tree.get_by_role("treeitem", name=re.compile("^All folders"))
    people = tree.get_by_role("treeitem", name=re.compile("^people"))
    expect(people).to_have_attribute("aria-expanded", "false")
    people.locator(".twisty").click()
    painted = tree.get_by_role("treeitem", name=re.compile("^painted"))
    expect(painted).to_have_attribute("aria-level", "2")
    search.fill("baroque")
    expect(every.locator(".many")).to_have_text(str(NETWORKS // 10))
    painted.click()
    expect(page.locator("#networks .count")).to_have_text(re.compile(rf"^\d+ of {NETWORKS + 1}$"))
    people.focus()
    page.keyboard.press("ArrowLeft")
    expect(painted).to_have_count(0)
    page.keyboard.press("Home")
    expect(every).to_be_focused()
    page.keyboard.press("s")
    expect(tree.get_by_role("treeitem", name=re.compile("^styles"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Add styles.baroque")).first).to_be_visible()


def test_on_a_phone_the_folders_are_a_drawer(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page)
    networks_tab(page)
    expect(page.get_by_role("tree", name="Folders")).to_have_count(0)
    page.get_by_role("button", name="Folders").click()
    page.get_by_role("dialog").get_by_role("treeitem", name=re.compile("^styles")).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Folder: styles")).to_be_focused()
    expect(page.get_by_role("button", name=re.compile("^Add styles.")).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
