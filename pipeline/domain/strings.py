"""A column of byte strings that lie in one buffer, as a fetch brings them: thousands, of which none is an object."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.native import BOUNDS, BYTES, FLAGS, NOTHING, READ_BYTES, READ_NUMBERS, READ_TABLE, loop
from pipeline.domain.rows import Flags, bytes_of

Numbers = NDArray[np.int64]


class Strings(Sequence[bytes | None]):
    """Strings of `buffer`, and None where there is none. It equals any sequence of the same ones.

    Attributes:
        buffer: with anything between the strings.
        starts: of each, in the buffer.
        lengths: of each, in bytes; -1: None.
    """

    __slots__ = ("buffer", "lengths", "starts")

    def __init__(self, buffer: bytes, starts: Numbers, lengths: Numbers) -> None:
        self.buffer, self.starts, self.lengths = buffer, starts, lengths

    @classmethod
    def of(cls, strings: Iterable[bytes | None]) -> "Strings":
        """Make a column of objects."""
        every = list(strings)
        lengths = [-1 if string is None else len(string) for string in every]
        ends = np.fromiter(accumulate(max(0, length) for length in lengths), np.int64, len(every))
        sizes = np.array(lengths, np.int64)
        return cls(b"".join(string for string in every if string), ends - np.maximum(sizes, 0), sizes)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...

    @overload
    def __getitem__(self, index: slice) -> "Strings": ...

    def __getitem__(self, index: int | slice) -> "bytes | Strings | None":
        if isinstance(index, slice):
            return Strings(self.buffer, self.starts[index], self.lengths[index])
        start, length = int(self.starts[index]), int(self.lengths[index])
        return None if length < 0 else self.buffer[start : start + length]

    def __iter__(self) -> Iterator[bytes | None]:
        buffer = self.buffer
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield None if length < 0 else buffer[start : start + length]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"Strings.of({list(self)!r})"

    @property
    def nbytes(self) -> int:
        """The bytes of all strings together."""
        return int(np.maximum(self.lengths, 0).sum())

    def take(self, places: Numbers) -> "Strings":
        """Give some of them, in another order if that is asked for."""
        return Strings(self.buffer, self.starts[places], self.lengths[places])

    def are(self, texts: NDArray[np.bytes_]) -> Flags:
        """Tell which of them are these texts, of which none has a zero."""
        same = np.empty(len(self), np.bool_)
        _are(np.frombuffer(self.buffer, np.uint8), self.starts, self.lengths, bytes_of(texts), same)
        return same


@loop(NOTHING, READ_BYTES, READ_NUMBERS, READ_NUMBERS, READ_TABLE, FLAGS)
def _are(buffer: Any, starts: Any, lengths: Any, texts: Any, same: Any) -> None:
    width = texts.shape[1]
    for index in range(len(starts)):
        start, length = starts[index], lengths[index]
        is_same = (
            0 <= length <= width
            and (length == width or not texts[index, length])
            and (length == 0 or texts[index, length - 1] != 0)
        )
        if is_same:
            difference = np.uint8(0)
            for place in range(length):
                difference |= buffer[start + place] ^ texts[index, place]
            is_same = not difference
        same[index] = is_same


def join_strings(*columns: Sequence[Strings]) -> list[Strings]:
    """Make one column of the parts of each. All are in one buffer then, and what parts have in common is in it once."""
    buffers = {id(part.buffer): part.buffer for parts in columns for part in parts}
    begins = dict(zip(buffers, accumulate(map(len, buffers.values()), initial=0), strict=False))
    buffer = b"".join(buffers.values())
    return [
        Strings(
            buffer,
            np.concatenate([part.starts + begins[id(part.buffer)] for part in parts]),
            np.concatenate([part.lengths for part in parts]),
        )
        for parts in columns
    ]


def pack_strings(columns: Sequence[Strings], packed: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Copy the strings of all columns one behind the other into `packed`, from its first byte on.

    Give where in it each of them begins, and where the last one ends. There are at most 2 GiB of them.
    """
    bounds = np.zeros(sum(map(len, columns)) + 1, np.int32)
    first = 0
    for column in columns:
        _pack(np.frombuffer(column.buffer, np.uint8), column.starts, column.lengths, packed, bounds[first:])
        first += len(column)
    return bounds


@loop(NOTHING, READ_BYTES, READ_NUMBERS, READ_NUMBERS, BYTES, BOUNDS)
def _pack(buffer: Any, starts: Any, lengths: Any, packed: Any, bounds: Any) -> None:
    # Unsigned, since Numba would look at each signed index whether it counts from the end, and so copy byte by byte.
    at = np.uint64(bounds[0])
    for index in range(len(starts)):
        start, length = np.uint64(starts[index]), np.uint64(max(lengths[index], 0))
        for place in range(length):
            packed[at + place] = buffer[start + place]
        at += length
        bounds[index + 1] = at
