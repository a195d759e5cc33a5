"""What was used last, kept up to so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, as long as their bytes fit: the least recently used goes first, the newest never."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.nbytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def take(self, key: Hashable, make: Callable[[], tuple[Value, int]]) -> Value:
        """The value kept under a key, or what is made for it: the value, and its bytes."""
        kept = self._kept.pop(key, None)
        if kept is None:
            kept = make()
            self.nbytes += kept[1]
        self._kept[key] = kept
        while self.nbytes > self._most and len(self._kept) > 1:
            _, (_, size) = self._kept.popitem(last=False)
            self.nbytes -= size
        return kept[0]
