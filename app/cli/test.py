"""`test`: the project's tests."""

from __future__ import annotations

import os
from collections.abc import Sequence

from app.settings.model import CHECKOUT


def test(arguments: Sequence[str]) -> int:
    """Run pytest in the checkout with `arguments`; its exit status."""
    import pytest

    os.chdir(CHECKOUT)
    return int(pytest.main(list(arguments)))
