"""What `bench` measures of sampling can be measured."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.sampling import sampling_figures
from tests.diffusion.models import saved, sd15_pipeline


def test_both_loops_are_timed_on_the_same_model(tmp_path: Path) -> None:
    figures = sampling_figures(saved(sd15_pipeline(), tmp_path / "small"), "cpu")
    assert [figure.unit for figure in figures] == ["s", "s", "×"]
    assert all(figure.value > 0 for figure in figures)
