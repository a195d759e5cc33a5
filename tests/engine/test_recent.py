"""What is kept is what was used last, within its bytes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from app.engine.recent import Recent


def sized(key: int, made: list[int]) -> Callable[[], tuple[str, int]]:
    def make() -> tuple[str, int]:
        made.append(key)
        return f"value {key}", key

    return make


@given(st.lists(st.integers(0, 12)), st.integers(0, 30))
def test_what_was_used_last_is_there_and_its_bytes_are_bounded(keys: list[int], most: int) -> None:
    recent: Recent[str] = Recent(most)
    made: list[int] = []
    for key in keys:
        assert recent.take(key, sized(key, made)) == f"value {key}"
        assert key in recent
        assert recent.nbytes == sum(one for one in range(13) if one in recent) <= max(most, key)


def test_a_value_is_made_once_while_it_is_kept() -> None:
    recent: Recent[str] = Recent(10)
    made: list[int] = []
    for key in (3, 4, 3, 4, 5, 4, 3):
        recent.take(key, sized(key, made))
    assert made == [3, 4, 5, 3]
