"""Nothing serious or critical is found by axe-core on any page: in the dark, in the light, on a phone."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.e2e.pages import opened

AXE = Path(__file__).parent / "axe" / "axe.min.js"
RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const told = (node) => `${node.target.join(" ")}: ${node.any[0]?.message ?? node.failureSummary}`;
  return found.violations
    .filter((rule) => ["serious", "critical"].includes(rule.impact))
    .flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${told(node)}`));
}"""
PROMPT = "a (cat:1.2) <lora:ink_wash_0000:0.8:unet=0@0%~0.8@100%> [<lora:ink_wash_0100:1>::0] <lora:gone> [a:b:0.5"


@cache
def axe() -> str:
    """The checker's own text."""
    return AXE.read_text(encoding="utf-8")


def found(page: Page) -> list[str]:
    """What is serious or critical on the page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe())
    # What fades in is not what one reads.
    page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => null)))")
    told: list[str] = page.evaluate(RUN)
    return told


@pytest.fixture(params=["dark", "light"])
def appearance(request: pytest.FixtureRequest, page: Page) -> str:
    """The look of the page, chosen before it is opened."""
    look: str = request.param
    page.add_init_script(f"localStorage.setItem('patchbay.appearance', '{look}')")
    return look


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desk", "phone"])
def test_axe_finds_nothing_serious(page: Page, appearance: str, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    opened(page).fill(PROMPT)
    page.get_by_role("button", name="More strengths of ink_wash_0000").click()
    page.locator("#explanation .problems li").first.wait_for()
    told = {"generate": found(page)}
    page.get_by_role("tab", name="Networks").click()
    page.locator("#networks .card").first.wait_for()
    told["networks"] = found(page)
    if size[0] < 900:
        page.get_by_role("button", name="Folders").click()
        page.get_by_role("treeitem", name="styles").wait_for()
        told["drawer"] = found(page)
        page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Details of ")).first.click()
    page.get_by_role("button", name="Save the notes").wait_for()
    told["details"] = found(page)
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("tab", name="Settings").click()
    page.locator("#settings_tab input").first.wait_for()
    told["settings"] = found(page)
    assert not _failed(told), "\n".join(f"{place}: {line}" for place, lines in told.items() for line in lines)


def test_axe_finds_nothing_serious_beside_a_finished_image(page: Page, appearance: str) -> None:
    opened(page).fill("a cat")
    page.keyboard.press("Control+Enter")
    page.locator("#results .infotext").wait_for()
    assert _failed({"result": found(page)}) == {}


def _failed(told: dict[str, list[str]]) -> dict[str, Any]:
    return {place: lines for place, lines in told.items() if lines}
