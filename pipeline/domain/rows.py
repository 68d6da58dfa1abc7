"""A set of byte strings of one size, in which some thousands are looked up at a time.

The strings are *rows*: a numpy array of the type `V16`, say. A Python set of as many spends some 90 bytes on each of them,
this one 21 to 32 for rows of 16.

When all sets together take more memory than they may (`overflow_to`), rows go into files. A table in a file gets no more rows:
new ones go to a small one in memory, and from time to time both are made one larger one.

Rows are compared as a whole, so hashing decides nothing but time. It is keyed, anew in each process: nobody can choose ids
that meet at a place.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.table import SPARE, Flags, Keys, Numbers, Places, Rows, Space, Table, bytes_of, rows_of

__all__ = ["Flags", "Numbers", "Places", "RowSet", "Rows", "Space", "bytes_of", "counted", "overflow_to", "rows_of"]

MAX_LOAD = 0.8  # of the places
GROWTH = 1.5
LEAST_PLACES = 64
MAX_WIDTH = 56  # bytes of a row
LEAST_FILED = 1 << 15  # rows; smaller files would be too many
FILED_SHARE = 8  # a table in a file is made anew when so many times fewer rows are beside it
MOST_BINS = 1 << 16  # to count in; numbers that go higher are sorted, which takes ten times as long

_KEYS: Keys = np.frombuffer(secrets.token_bytes(8 * (MAX_WIDTH // 4 + 1)), np.uint64) | np.uint64(1)
_KEYS.flags.writeable = False


class _Overflow(NamedTuple):
    make: Callable[[int], Space | None]
    beyond_bytes: float
    least_rows: int


# As an allocator's is, this choice is the process's: what sets answer does not depend on it.
_overflow = _Overflow(lambda _: None, float("inf"), LEAST_FILED)
_sets: "WeakSet[RowSet]" = WeakSet()


def overflow_to(make: Callable[[int], Space | None], *, beyond_bytes: float, least_rows: int = LEAST_FILED) -> None:
    """Keep rows in files, once the tables of all sets take so much memory.

    Args:
        make: gives a space of so many bytes, which ends when it is no longer used; None where that cannot be, and then
            rows stay in memory.
        beyond_bytes: of memory. Tags and what is on its way to a file stay there: of each row some bytes.
        least_rows: for which a file is made.
    """
    global _overflow  # noqa: PLW0603  # see there
    _overflow = _Overflow(make, beyond_bytes, least_rows)


class RowSet:
    """Rows of `width` bytes, ``MAX_WIDTH`` at the most; and for each a number of `number_bytes` (0 to 4): 0 at first."""

    def __init__(self, width: int, *, number_bytes: int = 0) -> None:
        self._width = width
        self._number_bytes = number_bytes
        self._keys = _KEYS  # of hashes
        self._near = self._table(LEAST_PLACES)
        self._filed: Table | None = None
        _sets.add(self)

    def __len__(self) -> int:
        return sum(table.size for table in self._tables())

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return sum(table.nbytes for table in self._tables())

    @property
    def filed_bytes(self) -> int:
        """What it has in a file."""
        return self._filed.rows.nbytes if self._filed else 0

    def rows(self) -> tuple[Rows, NDArray[np.uint32]]:
        """Give all rows, in no order, and their numbers."""
        taken = [table.tags.nonzero()[0] for table in self._tables()]
        rows = [table.rows[places] for table, places in zip(self._tables(), taken, strict=True)]
        numbers = [table.numbers[places] for table, places in zip(self._tables(), taken, strict=True)]
        return rows_of(np.concatenate(rows).reshape(-1), self._width), _read_numbers(np.concatenate(numbers))

    def add(self, rows: Rows) -> tuple[Places, Flags]:
        """Add those of some rows that are not there.

        Give for each where it stands now, which holds until the next call, and whether it was added: of equal ones
        the first is.
        """
        while self._near.size + len(rows) > MAX_LOAD * self._near.homes:
            if not self._file():
                self._grow()
        if self._filed is None:
            return self._add(rows)
        places, added = self._filed.find(rows, self._keys), np.zeros(len(rows), np.bool_)
        others = (places < 0).nonzero()[0]
        near, added[others] = self._add(rows[others])
        places += len(self._near.tags)  # it stands behind the other
        places[others] = near
        return places, added

    def has(self, rows: Rows) -> Flags:
        """Tell of each of some rows whether it is there."""
        found: Flags = self._near.find(rows, self._keys) >= 0
        return found | (self._filed.find(rows, self._keys) >= 0) if self._filed else found

    def numbers_at(self, places: Places) -> Iterator[tuple[Places | slice, Numbers, Places]]:
        """Find the numbers of rows that stand at some places.

        Give for each table which of the rows are there, its numbers, and where those of these rows are.
        """
        if self._filed is None:
            yield slice(None), self._near.numbers, places
            return
        behind = len(self._near.tags)
        near, filed = (places < behind).nonzero()[0], (places >= behind).nonzero()[0]
        yield near, self._near.numbers, places[near]
        yield filed, self._filed.numbers, places[filed] - behind

    def put_numbers(self, places: Places, numbers: NDArray[np.integer[Any]]) -> None:
        """Give rows that stand at some places their numbers. Of several for one row the last holds."""
        written = numbers.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : self._number_bytes]
        for which, there, at in self.numbers_at(places):
            there[at] = written[which]

    def _tables(self) -> list[Table]:
        return [self._near, self._filed] if self._filed else [self._near]

    def _table(self, homes: int, space: Space | None = None) -> Table:
        return Table(homes, self._width, self._number_bytes, space)

    def _add(self, rows: Rows) -> tuple[Places, Flags]:
        """Add to the table in memory what is not there."""
        places, added = np.empty(len(rows), np.int64), np.zeros(len(rows), np.bool_)
        while not self._near.add(rows, self._keys, places, added):
            self._grow()  # what was added is found there
        self._near.size += int(np.count_nonzero(added))
        return places, added

    def _grow(self) -> None:
        homes, size = self._near.homes, self._near.size
        grown = None
        while grown is None:
            homes = int(homes * GROWTH)
            grown = self._table(homes).filled([self._near], self._keys)
        self._near = grown
        self._near.size = size

    def _file(self) -> bool:
        """Move all rows into a file, if they are many, and more than memory may have."""
        is_worth_it = self._near.size >= max(_overflow.least_rows, len(self) / FILED_SHARE)
        if not is_worth_it or sum(each.nbytes for each in _sets) <= _overflow.beyond_bytes:
            return False
        homes, size = int(len(self) / MAX_LOAD), len(self)
        filed = None
        while filed is None:
            if (space := _overflow.make((homes + SPARE) * self._width)) is None:
                return False
            filed = self._table(homes, space).filled(self._tables(), self._keys)
            homes = int(homes * GROWTH)
        self._filed, self._near = filed, self._table(LEAST_PLACES)
        self._filed.size = size
        return True


def _read_numbers(numbers: Numbers) -> NDArray[np.uint32]:
    wide = np.zeros((len(numbers), 4), np.uint8)
    wide[:, : numbers.shape[1]] = numbers
    return wide.view("<u4").reshape(-1)


def counted(numbers: Places) -> tuple[Places, Places]:
    """Give the numbers that are there, none below 0, in order; and how often each is."""
    if len(numbers) and numbers.max() > MOST_BINS:
        return np.unique(numbers, return_counts=True)
    bins = np.bincount(numbers)
    present = bins.nonzero()[0]
    return present, bins[present]
