"""What came lately, by name, in bounded memory and without a pause.

A dict of a few hundred thousand names stops everybody for tens of milliseconds each time it is laid out anew, which it is for
ever while names come and go. So there are many small ones. Each has what is new and what was new before: when the new is
full it becomes the old, and the old is dropped as a whole.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_PARTS = 256
_LEAST_IN_PART = 100  # names in a generation: with fewer, parts would fill up at very different times
_SHIFT = 48  # the part is chosen by other bits of a hash than a dict's places are


class Recent(Generic[T]):
    """Values by name. Of names, hashes are kept (64 bits, under a key of the process), so it is wrong about one in billions."""

    def __init__(self, most: int) -> None:
        """Choose how many are remembered at most; those that came last, half as many or nearly so, always are."""
        parts = max(1, min(_MOST_PARTS, most // (2 * _LEAST_IN_PART)))
        self._most_in_part = max(1, most // (2 * parts))
        self._new: list[dict[int, T]] = [{} for _ in range(parts)]
        self._old: list[dict[int, T]] = [{} for _ in range(parts)]

    def __len__(self) -> int:
        """Give how many are remembered; what came again lately may be counted twice."""
        return sum(map(len, self._new)) + sum(map(len, self._old))

    def get(self, name: Hashable, default: T) -> T:
        """Give the value that a name was given last, if it is remembered."""
        code = hash(name)
        part = (code >> _SHIFT) % len(self._new)
        new = self._new[part]
        return new[code] if code in new else self._old[part].get(code, default)

    def put(self, name: Hashable, value: T) -> None:
        """Remember a value, in place of what the name had."""
        code = hash(name)
        part = (code >> _SHIFT) % len(self._new)
        new = self._new[part]
        if len(new) >= self._most_in_part:
            self._old[part], self._new[part] = new, (new := {})
        new[code] = value
