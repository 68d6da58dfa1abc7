"""A set of byte strings of one size, in which some thousands are looked up at a time.

The strings are *rows*: a numpy array of the type `V16`, say. A Python set of as many spends some 90 bytes on each of them,
this one 21 to 32 for rows of 16.

When all sets together would take more memory than they may (`overflow_to`), rows go into files. A table in a file gets no more
rows: new ones go to a table in memory, which becomes one more file when it is full. Then files that are not much larger than
all that are newer are made one with these, so that there are few, and a row is written few times: a log-structured merge tree
(O'Neil et al., 1996), of hash tables.

Rows are compared as a whole, so hashing decides nothing but time. It is keyed, anew in each process: nobody can choose ids
that meet at a place.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.table import (
    Flags,
    Hashes,
    Keys,
    Numbers,
    Places,
    Rows,
    Shape,
    Space,
    Table,
    bytes_of,
    hashed,
    rows_of,
)

__all__ = ["Flags", "Numbers", "Places", "RowSet", "Rows", "Space", "bytes_of", "counted", "overflow_to", "rows_of"]

# Of the places. In a file there are fewer tags on the way to a free place: each may be another row's, and cost a look at it.
MAX_LOAD = 0.8
FILED_LOAD = 0.65
GROWTH = 1.5
LEAST_PLACES = 64
MAX_WIDTH = 56  # bytes of a row
LEAST_FILED = 1 << 10  # rows; smaller files would be too many
MERGED = 4  # files are made one with newer ones unless they have more than so many times their rows
NEW_SHARE = 0.25  # of the memory, kept for new rows: the rest may have the index of what is in files
MOST_BINS = 1 << 16  # to count in; numbers that go higher are sorted, which takes ten times as long

_KEYS: Keys = np.frombuffer(secrets.token_bytes(8 * (MAX_WIDTH // 4 + 1)), np.uint64) | np.uint64(1)
_KEYS.flags.writeable = False


class _Overflow(NamedTuple):
    make: Callable[[int], Space | None]
    most_bytes: float
    least_rows: int


class _Memory:
    """What all sets take of it: summed up only when it may be too much, since sets may be thousands."""

    def __init__(self) -> None:
        self.sets: WeakSet[RowSet] = WeakSet()
        self._at_most = 0

    def note(self, change: int) -> None:
        self._at_most += max(0, change)

    def is_above(self, most_bytes: float) -> bool:
        if self._at_most > most_bytes:
            self._at_most = sum(each.nbytes for each in self.sets)
        return self._at_most > most_bytes


# As an allocator's is, this choice is the process's: what sets answer does not depend on it.
_overflow = _Overflow(lambda _: None, float("inf"), LEAST_FILED)
_memory = _Memory()


def overflow_to(make: Callable[[int], Space | None], *, most_bytes: float, least_rows: int = LEAST_FILED) -> None:
    """Keep rows in files, where the tables of all sets would take more memory than that.

    Args:
        make: gives a space of so many bytes, all 0, which ends when it is no longer used; None where that cannot be, and
            then rows stay in memory.
        most_bytes: of memory. Only sets of less than `least_rows`, where they are many, and an index that replaces others
            take more.
        least_rows: for which a file is made.
    """
    global _overflow  # noqa: PLW0603  # see there
    _overflow = _Overflow(make, most_bytes, least_rows)


class RowSet:
    """Rows of `width` bytes, ``MAX_WIDTH`` at the most; and for each a number of `number_bytes` (0 to 4): 0 at first.

    Attributes:
        nbytes: the memory that it takes.
        index_nbytes: the part of it that tags and numbers of rows in files take.
    """

    def __init__(self, width: int, *, number_bytes: int = 0) -> None:
        self._width = width
        self._number_bytes = number_bytes
        self._keys = _KEYS
        self.nbytes = self.index_nbytes = 0
        self._have(Table(self._shape(LEAST_PLACES)), [])
        _memory.sets.add(self)

    def __len__(self) -> int:
        return sum(table.size for table in self._tables())

    @property
    def filed_bytes(self) -> int:
        """What it has in files."""
        return sum(table.filed_bytes for table in self._filed)

    def rows(self) -> tuple[Rows, NDArray[np.uint32]]:
        """Give all rows, in no order, and their numbers."""
        rows, numbers = [], []
        for table in self._tables():
            taken = table.tags.nonzero()[0]
            rows.append(table.rows[taken])
            numbers.append(table.numbers[taken])
            table.let_go()
        return rows_of(np.concatenate(rows).reshape(-1), self._width), _read_numbers(np.concatenate(numbers))

    def add(self, rows: Rows) -> tuple[Places, Flags]:
        """Add those of some rows that are not there.

        Give for each where it stands now, which holds until rows are added to any set, and whether it was added: of equal
        ones the first is.
        """
        self._make_room(len(rows))
        hashes = hashed(rows, self._keys)
        if not self._filed:
            return self._add(rows, hashes)
        places, added = self._find(self._filed, rows, hashes), np.zeros(len(rows), np.bool_)
        others = (places < 0).nonzero()[0]
        near, added[others] = self._add(rows[others], hashes[others])
        places[others] = near + sum(len(table.tags) for table in self._filed)
        return places, added

    def has(self, rows: Rows) -> Flags:
        """Tell of each of some rows whether it is there."""
        found: Flags = self._find(self._tables(), rows, hashed(rows, self._keys)) >= 0
        return found

    def numbers_at(self, places: Places) -> Iterator[tuple[Places | slice, Numbers, Places]]:
        """Find the numbers of rows that stand at some places.

        Give, for a part of them at a time, which of the rows these are, an array of numbers, and where in it theirs are.
        """
        if not self._filed:
            yield slice(None), self._near.numbers, places
            return
        for first, table in _numbered(self._tables()):
            which = ((places >= first) & (places < first + len(table.tags))).nonzero()[0]
            for some, numbers, at in table.numbers_at(places[which] - first):
                yield which[some], numbers, at

    def put_numbers(self, places: Places, numbers: NDArray[np.integer[Any]]) -> None:
        """Give rows that stand at some places their numbers. Of several for one row the last holds."""
        written = numbers.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : self._number_bytes]
        for which, there, at in self.numbers_at(places):
            there[at] = written[which]

    def _have(self, near: Table, filed: list[Table]) -> None:
        """Have these tables from now on: one in memory, and others in files, the oldest, which is the largest, first."""
        self._near, self._filed = near, filed
        before = self.nbytes
        self.index_nbytes = sum(table.index_nbytes for table in filed)
        self.nbytes = near.nbytes + self.index_nbytes
        _memory.note(self.nbytes - before)

    def _tables(self) -> list[Table]:
        return [*self._filed, self._near]

    def _shape(self, homes: int) -> Shape:
        return Shape(homes, self._width, self._number_bytes)

    def _find(self, tables: list[Table], rows: Rows, hashes: Hashes) -> Places:
        """Give the place of each of some rows, -1 where it is not there."""
        places = np.full(len(rows), -1, np.int64)
        for first, table in _numbered(tables):
            found = table.find(rows, hashes)
            np.copyto(places, found + first, where=found >= 0)
        return places

    def _add(self, rows: Rows, hashes: Hashes) -> tuple[Places, Flags]:
        """Add to the table in memory what is not there."""
        places, added = np.empty(len(rows), np.int64), np.zeros(len(rows), np.bool_)
        while not self._near.add(rows, hashes, places, added):
            self._grow(self._grown(0))  # what was added is found there
        self._near.size += int(np.count_nonzero(added))
        return places, added

    def _make_room(self, rows: int) -> None:
        """Have room in memory for so many new rows. What would be too much there goes into files, of whichever set it is."""
        while self._near.size + rows > MAX_LOAD * self._near.homes:
            grown = self._grown(rows)
            is_much = self._near.size + rows >= _overflow.least_rows
            if not (is_much and _memory.is_above(_overflow.most_bytes - grown.nbytes) and _file_largest()):
                self._grow(grown)

    def _grown(self, rows: int) -> Shape:
        """Give the shape of a larger table in memory that has room for so many new rows."""
        homes = int(self._near.homes * GROWTH)
        while self._near.size + rows > MAX_LOAD * homes:
            homes = int(homes * GROWTH)
        return self._shape(homes)

    def _grow(self, shape: Shape) -> None:
        while not (grown := Table(shape).filled([self._near], self._keys)):
            shape = self._shape(int(shape.homes * GROWTH))
        self._have(grown, self._filed)

    def _file(self) -> bool:
        """Move the rows in memory into a file. False: there can be none."""
        kept, to_merge, size = self._filed.copy(), [self._near], self._near.size
        while kept and kept[-1].size <= MERGED * size:
            size += kept[-1].size
            to_merge.append(kept.pop())
        if not (merged := self._merged(to_merge, size)):
            return False
        self._have(Table(self._shape(LEAST_PLACES)), [*kept, merged])
        return True

    def _merged(self, tables: list[Table], size: int) -> Table | None:
        """Write tables into one in a file. None: there can be none."""
        # The memory that its index may have: what the tables take that stay, and new rows may, is not to be had.
        replaced = sum(table.index_nbytes for table in tables if table is not self._near)
        index = sum(each.index_nbytes for each in _memory.sets) - replaced
        near = sum(each.nbytes for each in _memory.sets) - replaced - index - self._near.nbytes
        room = _overflow.most_bytes - index - max(near, NEW_SHARE * _overflow.most_bytes)
        shape = self._shape(int(size / FILED_LOAD))
        while space := _overflow.make(shape.row_bytes if shape.index_bytes <= room else shape.nbytes):
            if merged := Table(shape, space).filled(tables, self._keys):
                return merged
            shape = self._shape(int(shape.homes * GROWTH))
        return None


def _file_largest() -> bool:
    """Move the rows of the largest table in memory into a file. False: none has enough of them, or there can be no file."""
    worth_it = [each for each in _memory.sets if each._near.size >= _overflow.least_rows]  # noqa: SLF001  # its own
    return bool(worth_it) and max(worth_it, key=lambda each: each._near.nbytes)._file()  # noqa: SLF001


def _numbered(tables: list[Table]) -> Iterator[tuple[int, Table]]:
    """Give tables with the places before them: those of the set are theirs, one table's behind the other's."""
    first = 0
    for table in tables:
        yield first, table
        first += len(table.tags)


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
