"""A store of what was used last, bounded by memory or by number."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values used last, as many as fit into `room` by what `size_of` says of each (bytes, or 1); none with no room.

    Not thread-safe.
    """

    def __init__(self, room: int, size_of: Callable[[Value], int]) -> None:
        self._room = room
        self._size_of = size_of
        self._used = 0
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """The value, which thereby is the one used last; None when it is not (or no longer) there."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: Key, value: Value) -> None:
        """Keep a value, and let go of those that were not used for longest. One that fits nowhere is not kept."""
        self._drop(key)
        size = self._size_of(value)
        if size > self._room:
            return
        self._values[key] = value
        self._used += size
        while self._used > self._room:
            self._drop(next(iter(self._values)))

    def _drop(self, key: Key) -> None:
        if key in self._values:
            self._used -= self._size_of(self._values.pop(key))
