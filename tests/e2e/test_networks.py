"""Picking networks by looking, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NETWORKS, Studio
from tests.e2e.pages import infotext, networks_tab, opened, set_number
from tests.ui.network_files import HOSTILE, lora_bytes


def test_a_click_adds_a_network_with_its_words_and_a_second_takes_exactly_that_away(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("a castle, at dusk")
    prompt.evaluate("box => box.setSelectionRange(8, 8)")
    networks_tab(page).fill("neon 0011")
    page.get_by_role("button", name="Add people/painted/neon_portrait_0011").click()
    added = "a castle <lora:people/painted/neon_portrait_0011:1>, neon style, at dusk"
    expect(prompt).to_have_value(added)
    page.get_by_role("button", name="Remove people/painted/neon_portrait_0011", exact=True).wait_for()
    prompt.press("Control+z")
    expect(prompt).to_have_value("a castle, at dusk")
    prompt.press("Control+Shift+z")
    expect(prompt).to_have_value(added)
    prompt.fill(added.replace(":1>", ":te=0.5:unet=0@0~1@50%>"))
    page.get_by_role("button", name="Remove people/painted/neon_portrait_0011", exact=True).click()
    expect(prompt).to_have_value("a castle, at dusk")


def test_a_click_that_changes_both_prompts_is_undone_and_redone_in_both(page: Page, studio: Studio) -> None:
    folder = studio.data / "models" / "loras"
    (folder / "paired.safetensors").write_bytes(lora_bytes())
    (folder / "paired.json").write_text('{"activation text": "in pairs", "negative text": "alone"}')
    prompt, negative = opened(page), page.get_by_role("textbox", name="Negative prompt")
    prompt.fill("two cats")
    negative.fill("ugly")
    networks_tab(page).fill("paired")
    page.get_by_role("button", name="Refresh", exact=True).click()
    page.get_by_role("button", name="Add paired").click()
    added = ("two cats <lora:paired:1>, in pairs", "ugly, alone")
    expect(prompt).to_have_value(added[0])
    expect(negative).to_have_value(added[1])
    prompt.press("Control+z")
    expect(prompt).to_have_value("two cats")
    expect(negative).to_have_value("ugly")
    prompt.press("Control+Shift+z")
    expect(prompt).to_have_value(added[0])
    expect(negative).to_have_value(added[1])
    page.get_by_role("button", name="Remove paired", exact=True).click()
    expect(prompt).to_have_value("two cats")
    expect(negative).to_have_value("ugly")
    prompt.press("Control+z")
    expect(prompt).to_have_value(added[0])
    expect(negative).to_have_value(added[1])
    for file in folder.glob("paired.*"):  # the other tests count cards
        file.unlink()


def test_search_filters_and_sorting_find_a_card_and_the_page_holds_few(page: Page) -> None:
    opened(page)
    search = networks_tab(page)
    count = page.locator("#networks .count")
    expect(count).to_have_text(str(NETWORKS + 1))
    assert page.locator("#networks .card").count() < 120
    page.locator("#networks .viewport").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(page.get_by_role("button", name=re.compile("Add .*x\\$"))).to_be_visible()
    assert page.locator("#networks .card").count() < 120
    search.fill("neon|ink -portrait")
    expect(count).to_have_text(f"{NETWORKS // 5 - NETWORKS // 50} of {NETWORKS + 1}")
    page.get_by_role("combobox", name="Base model").select_option("sdxl")
    expect(page.locator("#networks .card .badge").first).to_have_text("SDXL")
    tree = page.get_by_role("tree", name="Folders")
    tree.get_by_role("treeitem", name=re.compile("^people")).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(tree.get_by_role("treeitem", name=re.compile("^painted"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Add people.painted.")).first).to_be_visible()


def test_a_hostile_name_is_only_a_name(page: Page) -> None:
    page.on("dialog", lambda dialog: (_ for _ in ()).throw(AssertionError(dialog.message)))
    prompt = opened(page)
    prompt.fill("")
    networks_tab(page).fill("alert")
    name = HOSTILE.replace("/", "")
    page.get_by_role("button", name=f"Add {name}").click()
    expect(prompt).to_have_value(f'<lora:"{name}":1>')
    expect(page.get_by_role("button", name=f"Remove {name}", exact=True)).to_be_visible()
    page.get_by_role("button", name=f"Details of {name}").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_the_networks_of_the_prompt_have_sliders_that_stay_in_step_with_the_text(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("<lora:ink_wash_0000:0.8> and <lora:styles/gouache_portrait_0012>")
    slider = page.get_by_role("slider", name="Strength of ink_wash_0000", exact=True)
    expect(slider).to_have_value("0.8")
    slider.press("ArrowRight")
    expect(prompt).to_have_value("<lora:ink_wash_0000:0.85> and <lora:styles/gouache_portrait_0012>")
    expect(slider).to_be_focused()
    prompt.press("Control+z")
    expect(prompt).to_have_value("<lora:ink_wash_0000:0.8> and <lora:styles/gouache_portrait_0012>")
    expect(slider).to_have_value("0.8")
    page.get_by_role("button", name="Remove ink_wash_0000 from the prompt").click()
    expect(prompt).to_have_value("and <lora:styles/gouache_portrait_0012>")


def test_networks_of_the_negative_prompt_stand_in_the_list_too(page: Page) -> None:
    prompt = opened(page)
    negative = page.get_by_role("textbox", name="Negative prompt")
    prompt.fill("a cat <lora:ink_wash_0000:0.8>")
    negative.fill("blurry <lora:ink_wash_0000:0.4> <lora:no_such_file:1>")
    rows = page.locator("#explanation .active > li")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("neg.")
    expect(rows.nth(2)).to_contain_text("Not found")
    slider = page.get_by_role("slider", name="Strength of ink_wash_0000 in the negative prompt", exact=True)
    expect(slider).to_have_value("0.4")
    slider.press("ArrowRight")
    expect(negative).to_have_value("blurry <lora:ink_wash_0000:0.45> <lora:no_such_file:1>")
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8>")
    expect(page.get_by_role("button", name=re.compile("^Remove .* from the negative prompt$"))).to_have_count(2)
    # Both at once: the second is asked for before the first is answered.
    rows.evaluate_all("rows => rows.slice(1).forEach((row) => row.querySelector('.out').click())")
    expect(negative).to_have_value("blurry")
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8>")
    expect(rows).to_have_count(1)
    negative.fill("")


def test_completion_offers_networks_and_arguments(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("")
    prompt.press_sequentially("a <")
    expect(page.locator(".completion:visible li")).to_have_count(24)
    prompt.press_sequentially("lora:velvet_kni")
    page.get_by_role("option", name=re.compile("velvet_knight")).first.wait_for()
    prompt.press("Tab")
    expect(prompt).to_have_value(re.compile(r"^a <lora:\S*velvet_knight_\d+:1> velvet style$"))
    prompt.fill("<lora:ink_wash_0000:1:un>")
    prompt.evaluate("box => box.setSelectionRange(23, 23)")
    prompt.press("ArrowRight")
    prompt.press_sequentially("e")
    page.get_by_role("option", name=re.compile("^unet=")).wait_for()
    prompt.press("Enter")
    expect(prompt).to_have_value("<lora:ink_wash_0000:1:unet=>")
    prompt.press_sequentially("0.5")
    expect(prompt).to_have_value("<lora:ink_wash_0000:1:unet=0.5>")


def test_a_file_dropped_into_the_folder_appears_and_a_deleted_one_is_missed(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    networks_tab(page)
    path = studio.data / "models" / "loras" / "newcomer.safetensors"
    path.write_bytes(lora_bytes())
    page.get_by_role("button", name="Refresh", exact=True).click()
    prompt.fill("<lora:newcomer:1>")
    expect(page.locator("#explanation .active > li")).to_have_count(1)
    expect(page.locator("#explanation .problems li")).to_have_count(0)
    path.unlink()
    prompt.fill("<lora:newcomer:1> now")
    expect(page.locator("#explanation .problems li")).to_contain_text("newcomer")


def test_notes_are_saved_beside_the_network_and_used_by_the_next_click(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("")
    networks_tab(page).fill('"brass_wash_0005"')
    page.get_by_role("button", name=re.compile("^Details of .*brass_wash_0005")).click()
    page.get_by_label("Activation text").fill("polished brass")
    page.get_by_label("Preferred strength").fill("0.65")
    page.get_by_role("button", name="Save the notes").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_role("button", name=re.compile("^Add .*brass_wash_0005")).click()
    expect(prompt).to_have_value(re.compile(r"^<lora:\S*brass_wash_0005:0.65> polished brass$"))


def test_a_network_in_the_prompt_generates(page: Page) -> None:
    opened(page).fill("a cat <lora:ink_wash_0000:0.5>")
    set_number(page, "Steps", "2")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("<lora:ink_wash_0000:0.5>")


def test_a_curve_writes_the_schedule_and_the_eye_keeps_a_network_at_hand(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("a cat <lora:ink_wash_0000:0.8>")
    page.get_by_role("button", name="More strengths of ink_wash_0000").click()
    page.get_by_role("button", name="UNet strength of ink_wash_0000: over the steps").click()
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8:unet=0.8@0%~0.8@100%>")
    points = page.get_by_role("slider", name=re.compile("^Point . of ., UNet strength of ink_wash_0000"))
    points.nth(1).press("ArrowDown")
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8:unet=0.8@0%~0.75@100%>")
    points.nth(1).press("ArrowLeft")
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8:unet=0.8@0%~0.75@99%>")
    expect(points.nth(1)).to_be_focused()
    prompt.press("Control+z")
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8:unet=0.8@0%~0.75@100%>")
    eye = page.get_by_role("button", name="Use ink_wash_0000")
    eye.click()
    expect(prompt).to_have_value("a cat [<lora:ink_wash_0000:0.8:unet=0.8@0%~0.75@100%>::0]")
    expect(eye).to_have_attribute("aria-pressed", "false")
    # The form is kept a moment later.
    page.wait_for_function("() => localStorage.getItem('patchbay.form')?.includes('::0]')")
    page.reload()
    expect(eye).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#explanation .problems li")).to_have_count(0)
    eye.click()
    expect(prompt).to_have_value("a cat <lora:ink_wash_0000:0.8:unet=0.8@0%~0.75@100%>")


def test_cards_are_picked_by_keys_alone(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("")
    search = networks_tab(page)
    search.fill("ink wash")
    search.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    second = page.locator("#networks .card .pick").nth(1)
    expect(second).to_be_focused()
    page.keyboard.press("Enter")
    expect(prompt).to_have_value(re.compile("^<lora:.*ink_wash_.*:1> ink style$"))
    expect(second).to_be_focused()
    expect(second).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Control+z")
    expect(prompt).to_have_value("")
    second.focus()
    page.keyboard.press("/")
    expect(search).to_be_focused()


def test_a_training_word_is_put_in_and_taken_out_and_a_network_is_renamed_and_deleted(
    page: Page, studio: Studio
) -> None:
    folder = studio.data / "models" / "loras"
    (folder / "passing.safetensors").write_bytes(lora_bytes("sd15", {"ss_tag_frequency": '{"d": {"red hat": 9}}'}))
    prompt = opened(page)
    prompt.fill("a cat")
    networks_tab(page).fill("passing")
    page.get_by_role("button", name="Refresh", exact=True).click()
    page.get_by_role("button", name="Details of passing").click()
    chip = page.get_by_role("button", name="red hat 9")
    chip.click()
    expect(prompt).to_have_value("a cat, red hat")
    chip.click()
    expect(prompt).to_have_value("a cat")
    page.once("dialog", lambda dialog: dialog.accept("passed"))
    page.get_by_role("button", name="Rename…").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("searchbox", name="Search networks").fill("passed")
    page.get_by_role("button", name="Details of passed").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_text("No card fits.")).to_be_visible()
    assert not list(folder.glob("pass*"))
    assert [path.name for path in (studio.data / "trash").rglob("*.safetensors")] == ["passed.safetensors"]


def test_words_of_a_tag_file_are_offered(page: Page, studio: Studio) -> None:
    (studio.data / "tags").mkdir(exist_ok=True)
    (studio.data / "tags" / "mine.csv").write_text('long_hair,0,4300000,"longhair"\nlong_(artist),1,20,\n')
    prompt = opened(page)
    prompt.fill("")
    prompt.press_sequentially("a cat, long")
    page.get_by_role("option", name="long hair").wait_for()
    prompt.press("ArrowDown")
    prompt.press("Tab")
    expect(prompt).to_have_value(r"a cat, long \(artist\)")


def test_a_style_is_saved_applied_and_undone(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("{prompt}, ink on paper")
    networks_tab(page)
    page.get_by_role("combobox", name="Kind").select_option("style")
    page.once("dialog", lambda dialog: dialog.accept("Inked"))
    page.get_by_role("button", name="Save the prompts as a style…").click()
    page.get_by_role("button", name=re.compile("^(Add|Remove) Inked$")).wait_for()  # its words stand in the prompt now
    prompt.fill("a cat")
    card = page.get_by_role("button", name="Add Inked")
    card.click()
    expect(prompt).to_have_value("a cat, ink on paper")
    prompt.press("Control+z")
    expect(prompt).to_have_value("a cat")
    card.click()
    expect(prompt).to_have_value("a cat, ink on paper")
    page.get_by_role("button", name="Remove Inked").click()
    expect(prompt).to_have_value("a cat")
    page.get_by_role("button", name="Favourite Inked").click()
    page.get_by_role("button", name="Favourites").click()
    expect(card).to_be_visible()


def test_a_missing_network_is_named_anew_by_one_click(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("a <lora:ink_wash_000:0.5>, b")
    row = page.locator("#explanation .active > li")
    expect(row).to_contain_text("Not found. Did you mean")
    row.get_by_role("button", name="ink_wash_0300", exact=True).click()
    expect(prompt).to_have_value("a <lora:ink_wash_0300:0.5>, b")
    expect(row).to_contain_text("not yet known")
    prompt.press("Control+z")
    expect(prompt).to_have_value("a <lora:ink_wash_000:0.5>, b")


def test_the_most_used_are_those_that_made_images(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("")
    set_number(page, "Steps", "2")
    networks_tab(page).fill("misty")
    first = page.locator("#networks .card .pick").first
    page.get_by_role("combobox", name="Sort").select_option("times")
    name = page.locator("#networks .card .name").nth(3).get_attribute("title")
    page.get_by_role("button", name=f"Add {name}", exact=True).click()
    expect(prompt).to_have_value(re.compile(f"<lora:{name}:1>"))
    expect(first).not_to_have_attribute("aria-label", f"Remove {name}")
    page.get_by_role("combobox", name="Sort").select_option("last")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text(str(name))
    expect(first).to_have_attribute("aria-label", f"Remove {name}")
