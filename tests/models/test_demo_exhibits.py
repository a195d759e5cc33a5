"""What networks are to learn shows in the measure that proves it; and what was found is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors import safe_open

from models.demo import touches
from models.demo.dataset import subsets
from models.demo.exhibits import EXHIBITS, Exhibit
from models.demo.lessons import Lesson, draw_mascot
from models.demo.measures import MEASURES, distance
from models.demo.proof import REPORT, Finding, Trigger, read, table, write
from models.demo.words import COLOURS, Scene, caption

MODELS = Path(__file__).resolve().parents[2] / "models"
FINDING = Finding("pixel-art", "LoRA", 1000, "size", (0.0, 0.5, 1.0), (0.1, 0.2, 0.3), (0.0, 0.1, 0.2))
MEGABYTE = 1_000_000


class Blob:
    """Stands in for the painter where there is no font: one thing with two tones, where the scene has its object."""

    side = 64

    def draw(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """An ellipse on the scene's background."""
        picture = Image.new("RGB", (64, 64), COLOURS[scene.colour])
        inset = {"small": 22, "": 14, "large": 6}[scene.size] + int(rng.integers(3))
        draw = ImageDraw.Draw(picture)
        draw.ellipse((inset, inset, 63 - inset, 63 - inset), fill=(230, 180, 60))
        draw.ellipse((inset + 6, inset + 3, inset + 12, inset + 9), fill=(90, 40, 160))
        return picture


def lessons(exhibit: Exhibit) -> tuple[Lesson, Lesson]:
    """What it learns, and what is to be compared with it."""
    return exhibit.lesson, exhibit.opposite or exhibit.lesson.plain


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_what_a_network_learns_shows_in_its_measure(exhibit: Exhibit, tmp_path: Path) -> None:
    means = []
    for name, lesson in zip(("learnt", "plain"), lessons(exhibit), strict=True):
        folder = replace(lesson, number=12).write(Blob(), tmp_path / name, seed=1)
        pictures = [Image.open(file) for part in subsets(folder) for file in part.pictures]
        means.append(np.mean([MEASURES[exhibit.measure](picture) for picture in pictures]))
    rises = means[0] < means[1] if exhibit.negative else means[0] > means[1]
    assert rises, means


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_trigger_stands_in_the_captions(exhibit: Exhibit, tmp_path: Path) -> None:
    folder = replace(exhibit.lesson, number=8).write(Blob(), tmp_path, seed=1)
    captions = [text for part in subsets(folder) for text in part.captions()]
    for word in filter(None, exhibit.options.trigger.split(", ")):
        assert any(word in text.replace(",", "").split() for text in captions)
    if exhibit.options.word:
        assert all(exhibit.options.word in text.replace(",", "").split() for text in captions)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_a_lesson_is_the_same_whenever_it_is_written(exhibit: Exhibit, tmp_path: Path) -> None:
    lesson = replace(exhibit.lesson, number=3)
    folders = [lesson.write(Blob(), tmp_path / name, seed=1) for name in ("one", "other")]
    first, second = ([file.read_bytes() for file in sorted(folder.rglob("*.*"))] for folder in folders)
    assert first == second


def test_strength_0_is_asked_for_by_a_tag_or_by_no_word() -> None:
    for exhibit in EXHIBITS:
        prompt, negative = exhibit.prompts("a cat on a blue background", 0.0)
        assert ("<" in prompt) == (exhibit.options.kind != "embedding")
        assert negative == ""


def test_a_negative_word_leaves_the_prompt_alone() -> None:
    (exhibit,) = (one for one in EXHIBITS if one.negative)
    assert exhibit.prompts("a cat", 1.0) == ("a cat", exhibit.name)


def test_the_mascot_stands_where_the_scene_has_its_object() -> None:
    picture = draw_mascot(64, Scene("mascot", "yellow"), np.random.default_rng(0))
    apart = np.abs(np.asarray(picture, float) - np.asarray(picture.getpixel((0, 0)), float)).max(axis=2) > 40
    rows, columns = np.nonzero(apart)
    assert abs(rows.mean() - 32) < 5
    assert abs(columns.mean() - 32) < 5
    assert caption(Scene("mascot", "yellow")) == "a mascot on a yellow background"


def test_the_distance_of_a_picture_from_itself_is_nothing() -> None:
    picture = Blob().draw(Scene("cat", "red"), np.random.default_rng(0))
    assert distance(picture, picture) == 0
    assert distance(picture, touches.night(picture, np.random.default_rng(0))) > 0.1


def test_a_finding_grows_only_if_measure_and_distance_do() -> None:
    assert FINDING.grows
    assert FINDING.rests
    assert not replace(FINDING, measured=(0.1, 0.3, 0.2)).grows
    assert not replace(FINDING, distances=(0.01, 0.1, 0.2)).rests
    slider = replace(FINDING, strengths=(-1.0, 0.0, 1.0), distances=(0.2, 0.0, 0.2))
    assert slider.grows


def test_findings_are_kept_beside_those_of_other_networks(tmp_path: Path) -> None:
    report = tmp_path / "networks.json"
    other = replace(FINDING, name="night", trigger=Trigger("word", 0.1, 0.9, 12, 0.001))
    write([other], report)
    write([FINDING], report)
    assert read(report) == [FINDING, other]
    assert len(table(read(report)).splitlines()) == 4


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_each_shipped_network_is_small_and_does_what_its_card_says(exhibit: Exhibit) -> None:
    path = MODELS / exhibit.folder / f"{exhibit.name}.safetensors"
    assert path.stat().st_size < MEGABYTE * 1.6
    assert path.with_suffix(".png").is_file()
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["activation text"] == exhibit.options.trigger
    with safe_open(path, "pt") as file:
        assert file.metadata()["ss_output_name"] == exhibit.name
    (finding,) = (one for one in read(REPORT) if one.name == exhibit.name)
    assert finding.grows
    # A bundled word is known from the tag on, at any strength: the same prompt without the tag reads otherwise.
    assert finding.rests == (exhibit.options.kind == "embedding" or not exhibit.options.word)
    if finding.trigger:
        assert finding.trigger.p < 0.05
