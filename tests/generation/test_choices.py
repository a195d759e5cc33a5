"""The names of samplers and schedule types are those of the samplers and schedules there are."""

from __future__ import annotations

import pytest

from app.diffusion.samplers import AUTOMATIC
from app.diffusion.samplers import SAMPLERS as SAMPLERS_THERE_ARE
from app.diffusion.samplers import SCHEDULE_TYPES as SCHEDULES_THERE_ARE
from app.errors import RequestError
from app.generation.choices import SAMPLERS, SCHEDULE_TYPES, find_sampler


def test_the_names_are_those_of_what_there_is() -> None:
    assert {choice.name for choice in SAMPLERS} == set(SAMPLERS_THERE_ARE)
    assert {choice.name for choice in SCHEDULE_TYPES} == {AUTOMATIC, *SCHEDULES_THERE_ARE}


def test_no_spelling_means_two_things() -> None:
    for choices in (SAMPLERS, SCHEDULE_TYPES):
        spellings = [spelling for choice in choices for spelling in {choice.name.lower(), *choice.aliases}]
        assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("sampler", [choice.name for choice in SAMPLERS])
@pytest.mark.parametrize("schedule", [choice.name for choice in SCHEDULE_TYPES[1:]])
def test_a_sampler_and_a_schedule_type_joined_are_both(sampler: str, schedule: str) -> None:
    if schedule != "Normal":
        assert find_sampler(f"{sampler} {schedule}") == (sampler, schedule)
    assert find_sampler(sampler.upper(), schedule.lower()) == (sampler, schedule)


@pytest.mark.parametrize(("sampler", "schedule"), [("", ""), ("Karras", ""), ("Euler", "x"), ("Euler Karras", "x")])
def test_names_of_nothing_are_refused(sampler: str, schedule: str) -> None:
    with pytest.raises(RequestError):
        find_sampler(sampler, schedule)
