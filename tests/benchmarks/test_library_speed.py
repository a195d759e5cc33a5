"""A library of 5,000 networks is scanned within 30 s, and within 1 s after that.

Measured on a twentieth of the files, and against a million additions in the same run: a slow machine adds slowly too.
"""

from __future__ import annotations

from tests.benchmarks.library import FILES, figures
from tests.benchmarks.test_prompt_speed import calibration, seconds

SLACK = 2
"""What other programs on the same processor cost."""
QUICK = 0.017
"""Seconds of a million additions on a processor that scans in the time that is asked for."""


def test_a_large_library_is_scanned_in_time() -> None:
    slowness = max(1.0, seconds(calibration) / QUICK)
    found = list(figures(FILES // 20))
    late = [one for one in found if one.target is not None and one.seconds > SLACK * slowness * one.target]
    assert late == []
