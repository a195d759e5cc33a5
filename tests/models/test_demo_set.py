"""The set as it ships, in the studio as it is: each network does what it is for, and nothing at strength 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest
from PIL import Image

from models.demo.exhibits import EXHIBITS, Exhibit
from models.demo.measures import MEASURES, distance
from models.demo.showcase import SUBJECTS
from models.demo.studio import Studio, studio

MODELS = Path(__file__).resolve().parents[2] / "models"
WORDS = [exhibit for exhibit in EXHIBITS if exhibit.options.kind == "embedding"]
TAGS = [exhibit for exhibit in EXHIBITS if exhibit not in WORDS]


@pytest.fixture(scope="module")
def here() -> Iterator[Studio]:
    """The studio over the models that ship."""
    with studio(MODELS, "patchbay-demo") as opened:
        yield opened


def pictures(exhibit: Exhibit, here: Studio, strength: float, subject: str, number: int = 1) -> list[Image.Image]:
    """Pictures of a subject, asked for as the network wants it."""
    prompt, negative = exhibit.prompts(subject, strength)
    return here.pictures(prompt, number, negative=negative)


@pytest.mark.parametrize("exhibit", TAGS, ids=lambda exhibit: exhibit.name)
def test_a_network_acts_at_1_and_rests_at_0(exhibit: Exhibit, here: Studio) -> None:
    (resting,), (acting,) = (pictures(exhibit, here, strength, SUBJECTS[0]) for strength in (0.0, 1.0))
    measure = MEASURES[exhibit.measure]
    assert measure(acting) > measure(resting)
    if not exhibit.options.word:  # a bundled word is known from the tag on, at any strength
        (plain,) = here.pictures(exhibit.prompts(SUBJECTS[0], 0.0)[0].partition(" <")[0])
        assert distance(resting, plain) == 0


@pytest.mark.parametrize("exhibit", WORDS, ids=lambda exhibit: exhibit.name)
def test_a_word_acts_on_the_average_of_several_pictures(exhibit: Exhibit, here: Studio) -> None:
    without, with_it = (
        fmean(MEASURES[exhibit.measure](one) for subject in SUBJECTS for one in pictures(exhibit, here, at, subject, 2))
        for at in (0.0, 1.0)
    )
    assert with_it > without
