"""The page as a user meets it, in a real browser."""

from __future__ import annotations

import re

from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect

from tests.e2e.conftest import Studio
from tests.e2e.pages import infotext, number, opened, picture, set_number

TAG_PROMPT = "a cat <lora:ink:te=0.5:unet=0@0~1@50%> at [dawn:dusk:0.5]"


def test_a_prompt_and_ctrl_enter_give_an_image_that_survives_a_reload_in_the_middle(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    prompt.fill("a lighthouse that holds")
    set_number(page, "Steps", "10")
    with studio.held():
        prompt.press("Control+Enter")
        progress = page.get_by_role("progressbar", name="Progress")
        expect(progress).to_have_attribute("aria-valuenow", "50")
        expect(page.locator("#results .status")).to_contain_text("left")
        expect(page.get_by_alt_text("The image being made")).to_be_visible()
        page.reload()
        expect(prompt).to_have_value("a lighthouse that holds")
        expect(number(page, "Steps")).to_have_value("10")
        expect(progress).to_have_attribute("aria-valuenow", "50")
    expect(infotext(page)).to_contain_text("a lighthouse that holds")
    expect(picture(page)).to_be_visible()
    expect(picture(page)).to_have_js_property("naturalWidth", 512)


def test_the_image_is_a_file_that_carries_its_parameters(page: Page) -> None:
    opened(page).fill("a red kite")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("a red kite")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with Image.open(download.value.path()) as image:
        assert image.text["parameters"] == infotext(page).inner_text()  # type: ignore[attr-defined]


def test_interrupt_keeps_the_image_that_there_is(page: Page, studio: Studio) -> None:
    opened(page).fill("stopped early, hold")
    with studio.held():
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuenow", "50")
        with page.expect_response("**/app/interrupt"):
            page.keyboard.press("Escape")
    expect(page.locator("#results .done")).to_contain_text("Stopped after")
    expect(infotext(page)).to_contain_text("stopped early")


def test_a_batch_shows_every_image_with_its_seed(page: Page) -> None:
    opened(page).fill("four of them")
    for name, value in (("Steps", "2"), ("Batch count", "2"), ("Batch size", "2")):
        set_number(page, name, value)
    page.get_by_role("spinbutton", name="Seed").fill("7")
    page.get_by_role("spinbutton", name="Seed").press("Tab")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("button", name="Image 4, seed 10")).to_be_visible()
    page.get_by_role("button", name="Image 3, seed 9").click()
    expect(infotext(page)).to_contain_text("Seed: 9,")
    page.get_by_role("button", name="Random seed").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("-1")
    page.get_by_role("button", name="Reuse the last seed").click()
    expect(page.get_by_role("spinbutton", name="Seed")).to_have_value("9")


def test_another_browser_waits_in_the_queue_and_sees_nothing_of_this_one(
    page: Page, browser: Browser, studio: Studio
) -> None:
    opened(page).fill("mine alone, hold")
    context = browser.new_context(base_url=studio.address)
    other = context.new_page()
    opened(other).fill("theirs")
    with studio.held():
        page.keyboard.press("Control+Enter")
        expect(page.locator("#results .status")).to_contain_text("Step 10 of 20")
        other.keyboard.press("Control+Enter")
        expect(other.locator("#results .status")).to_contain_text("position 1")
        other.get_by_role("button", name="Interrupt").click()
        expect(other.locator("#results .status")).to_contain_text("busy for others")
        mine = page.get_by_alt_text("The image being made").get_attribute("src")
        assert mine
        assert other.request.get(mine).status == 404
    context.close()
    expect(infotext(page)).to_contain_text("mine alone")


def test_an_image_dropped_on_the_prompt_restores_everything(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("first (light:1.2)")
    page.get_by_role("textbox", name="Negative prompt").fill("blurry")
    page.get_by_role("button", name="3:2").click()
    set_number(page, "Steps", "3")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("Size: 640x448")
    image = page.request.get(picture(page).get_attribute("src") or "").body()
    page.get_by_role("button", name="Clear both prompts").click()
    expect(prompt).to_have_value("")
    page.get_by_role("button", name="Swap width and height").click()
    expect(number(page, "Width")).to_have_value("448")
    dropped = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "made.png", { type: "image/png" }));
            return transfer;
        }""",
        list(image),
    )
    prompt.dispatch_event("drop", {"dataTransfer": dropped})
    expect(prompt).to_have_value("first (light:1.2)")
    expect(page.get_by_role("textbox", name="Negative prompt")).to_have_value("blurry")
    expect(number(page, "Width")).to_have_value("640")
    expect(number(page, "Steps")).to_have_value("3")


def test_png_info_reads_a_file_and_fills_the_form_when_asked(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("untouched")
    page.get_by_role("tab", name="PNG Info").click()
    chooser = page.locator("#pnginfo input[type=file]")
    chooser.set_input_files(FilePayload(name="x.png", mimeType="image/png", buffer=b"not a picture"))
    expect(page.locator("#pnginfo .notice")).to_contain_text("cannot be read")
    chooser.set_input_files(
        FilePayload(name="y.png", mimeType="image/png", buffer=png("a fox\nSteps: 9, Sampler: Euler, Seed: 5"))
    )
    expect(page.locator("#pnginfo .infotext")).to_contain_text("a fox")
    expect(prompt).to_have_value("untouched")
    page.get_by_role("button", name="Use these settings").click()
    expect(prompt).to_have_value("a fox")
    expect(number(page, "Steps")).to_have_value("9")


def png(text: str) -> bytes:
    """A tiny PNG that carries a text."""
    from app.generation.png import png_bytes

    return png_bytes(Image.new("RGB", (8, 8)), text)


def test_a_failure_is_one_clear_line_that_stays(page: Page) -> None:
    opened(page).fill("explode")
    page.keyboard.press("Control+Enter")
    notice = page.locator("#explanation .notice")
    expect(notice).to_contain_text("There is no network named 'ink2'. Did you mean ink?")
    page.get_by_role("textbox", name="Prompt", exact=True).fill("calm")
    set_number(page, "Steps", "2")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("calm")
    expect(notice).to_be_empty()


def test_the_prompt_is_explained_as_it_is_typed(page: Page) -> None:
    prompt = opened(page)
    prompt.fill(TAG_PROMPT)
    expect(page.get_by_role("img", name=re.compile("Strengths over 20 steps: ink unet"))).to_be_visible()
    expect(page.locator("#txt2img_prompt .tokens")).to_have_text(re.compile(r"^\d+/75$"))
    prompt.fill("😀 a good <lora:ink:1> and a bad <lora:ink:ALL>")
    expect(page.locator("#explanation .problems li")).to_have_count(1)
    marked = page.locator("#txt2img_prompt .highlight .problem")
    expect(marked.first).to_be_attached()
    assert "ALL" in "".join(marked.all_inner_texts())
    assert "good" not in "".join(marked.all_inner_texts())


WEIGHTS = [
    ("a cat", 3, "ArrowUp", "a (cat:1.1)"),
    ("a (cat:1.1)", 5, "ArrowDown", "a cat"),
    ("a (cat)", 4, "ArrowUp", "a (cat:1.2)"),
    ("<lora:ink:0.8>", 8, "ArrowUp", "<lora:ink:0.85>"),
    ("<lora:ink>", 8, "ArrowDown", "<lora:ink:0.95>"),
    ("<lora:ink:te=0.5:unet=0@0~1@50%>", 27, "ArrowUp", "<lora:ink:te=0.5:unet=0@0~1.05@50%>"),
]


def test_ctrl_and_an_arrow_change_the_weight_under_the_cursor(page: Page) -> None:
    prompt = opened(page)
    for text, cursor, key, expected in WEIGHTS:
        prompt.fill(text)
        prompt.evaluate("(box, place) => box.setSelectionRange(place, place)", cursor)
        prompt.press(f"Control+{key}")
        expect(prompt).to_have_value(expected)
        prompt.press("Control+z")
        expect(prompt).to_have_value(text)


def test_restore_brings_back_the_last_image_and_clear_can_be_undone(page: Page) -> None:
    prompt = opened(page)
    prompt.fill("remember me")
    set_number(page, "Steps", "2")
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("remember me")
    page.get_by_role("button", name="Clear both prompts").click()
    expect(prompt).to_have_value("")
    prompt.press("Control+z")
    expect(prompt).to_have_value("remember me")
    prompt.fill("something else")
    page.get_by_role("button", name="Restore the settings of the last image").click()
    expect(prompt).to_have_value("remember me")


def test_the_page_is_dark_and_remembers_the_light(page: Page) -> None:
    opened(page)
    expect(page.locator("body")).to_have_class(re.compile(r"\bdark\b"))
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("body")).not_to_have_class(re.compile(r"\bdark\b"))
    page.reload()
    page.locator("body.ready").wait_for()
    expect(page.locator("body")).not_to_have_class(re.compile(r"\bdark\b"))


def test_a_phone_shows_the_result_before_the_settings_and_nothing_overflows(browser: Browser, base_url: str) -> None:
    context = browser.new_context(base_url=base_url, viewport={"width": 390, "height": 844}, has_touch=True)
    phone = context.new_page()
    opened(phone)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    places = [phone.locator(selector).bounding_box() for selector in ("#txt2img_prompt", "#results", "#tabs")]
    tops = [place["y"] for place in places if place]
    assert tops == sorted(tops)
    assert len(tops) == 3
    expect(phone.get_by_role("button", name="Generate")).to_be_in_viewport()
    context.close()


def test_a_restarted_server_finds_the_page_as_it_was(page: Page, studio: Studio) -> None:
    prompt = opened(page)
    prompt.fill("before the restart")
    studio.stop()
    expect(page.locator("#results .status")).to_contain_text("Reconnecting")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#explanation .notice")).to_contain_text("does not answer")
    studio.start()
    expect(page.locator("#results .status")).to_contain_text("Ready")
    set_number(page, "Steps", "2")
    prompt.press("Control+Enter")
    expect(infotext(page)).to_contain_text("before the restart")


def test_a_refreshed_list_shows_a_new_checkpoint(page: Page, studio: Studio) -> None:
    opened(page)
    (studio.data / "models" / "checkpoints" / "newcomer.safetensors").touch()
    page.get_by_role("button", name="Refresh the lists of models").click()
    page.get_by_role("combobox", name="Checkpoint").click()
    page.get_by_role("option", name="newcomer").click()
    page.keyboard.press("Control+Enter")
    expect(infotext(page)).to_contain_text("Model: newcomer")


def test_a_checkpoint_brings_its_size_unless_the_user_has_one(page: Page, studio: Studio) -> None:
    folder = studio.data / "models" / "checkpoints" / "small"
    for part, config in (("unet", '{"sample_size": 32}'), ("vae", '{"block_out_channels": [8, 8, 8, 8]}')):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(config)
    (folder / "model_index.json").write_text("{}")
    opened(page)
    page.get_by_role("button", name="Refresh the lists of models").click()

    def choose(name: str) -> None:
        page.get_by_role("combobox", name="Checkpoint").click()
        page.get_by_role("option", name=name, exact=True).click()

    choose("small")
    expect(number(page, "Width")).to_have_value("256")
    choose("demo")
    expect(number(page, "Height")).to_have_value("512")
    set_number(page, "Width", "384")
    choose("small")
    expect(page.get_by_role("combobox", name="Checkpoint")).to_have_value("small")
    expect(number(page, "Width")).to_have_value("384")
    choose("demo")


def test_a_second_pass_is_told_on_its_closed_drawer(page: Page) -> None:
    opened(page)
    drawer = page.locator("#txt2img_hr").get_by_role("button", name="Hires. fix")
    expect(drawer).to_have_accessible_name(re.compile("Hires. fix ?off"))
    drawer.click()
    set_number(page, "Upscale by", "1.5")
    drawer.click()
    expect(drawer).to_have_accessible_name(re.compile("Hires. fix ?×1.5: 768 × 768"))


def test_a_setting_is_found_changed_kept_and_put_back(page: Page, studio: Studio) -> None:
    opened(page)
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("searchbox", name="Search settings").fill("comma")
    choice = page.get_by_role("combobox", name="A comma in a schedule")
    choice.select_option("ramp")
    expect(page.get_by_text("A comma in a schedule: saved.")).to_be_visible()
    assert 'schedule_separator = "ramp"' in (studio.data / "settings.toml").read_text()
    page.get_by_role("textbox", name="Prompt", exact=True).fill("<lora:ink_wash_0000:0@1,1@20>")
    expect(page.get_by_role("img", name=re.compile("^Strengths"))).to_be_visible()
    page.get_by_role("button", name="A comma in a schedule: back to the default").click()
    expect(choice).to_have_value("switch")
    page.get_by_role("searchbox", name="Search settings").fill("models")
    expect(page.get_by_role("textbox", name=re.compile("^Models"))).to_be_disabled()
