"""`test`: the project's tests."""

from __future__ import annotations

import os
from collections.abc import Sequence

from app.settings.model import CHECKOUT

WHOLE = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""How all of them run: several files at once, in the order of their names, since those of few tests are the slowest."""


def test(arguments: Sequence[str]) -> int:
    """Run pytest in the checkout with `arguments`, without any on all tests; its exit status."""
    # Each process computes with one thread: more would only wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import pytest

    os.chdir(CHECKOUT)
    return int(pytest.main(list(arguments or WHOLE)))
