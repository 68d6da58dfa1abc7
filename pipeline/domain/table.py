"""A hash table with linear probing of byte strings of one size.

Each place has a *tag*, a byte of its row's hash, so that rows are looked at only where a tag agrees. Nothing is ever taken out.

Rows belong where their hashes, taken as fractions, point to: so tables of any sizes are put into a larger one by reading and
writing each from one end to the other.

The rows of a table may be in a file. Its tags are in memory, so that most questions about a row that is not there do not read
the file: of 20, one does.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.native import (
    BYTES,
    FLAG,
    FLAGS,
    INT,
    NOTHING,
    NUMBERS,
    READ_TABLE,
    READ_WORDS,
    TABLE,
    loop,
    part,
)

SPARE = 256  # places behind the last that a hash points to, for what finds all taken up to there
AT_ONCE = 64  # rows that are fetched from memory together
MOVED_AT_ONCE = 1 << 16  # rows that are written to a file, or read from one, before its pages are let go of
ASKED_AT_ONCE = 512  # rows that are looked up in a file before that: each may take a page, and the ones around it

Rows = NDArray[np.void]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.uint8]
Keys = NDArray[np.uint64]


class Space(Protocol):
    """Bytes in a file that is mapped into memory."""

    cells: NDArray[np.uint8]

    def let_go(self) -> None:
        """Take no memory for what was read or written until now. Its content stays, and can be read again."""


class Table:
    """Rows, their tags, and a number of some bytes for each, which is 0 at first.

    Attributes:
        size: how many rows there are; whoever adds them counts them.
    """

    def __init__(self, homes: int, width: int, number_bytes: int, space: Space | None) -> None:
        places = homes + SPARE
        self.homes = homes  # places that hashes point to; the arrays are larger than it: loops do not look
        self.rows = np.empty((places, width), np.uint8) if space is None else space.cells.reshape(places, width)
        self.tags = np.zeros(places, np.uint8)  # 0: the place is free. The last one always is
        self.numbers = np.zeros((places, number_bytes), np.uint8)  # little-endian
        self.size = 0
        self._space = space

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.tags.nbytes + self.numbers.nbytes + (0 if self._space else self.rows.nbytes)

    def add(self, rows: Rows, keys: Keys, places: Places, added: Flags) -> bool:
        """Add those of some rows that are not there; say where each is, and whether it was added. False: it ends before."""
        return _add(bytes_of(rows), keys, self.homes, self.rows, self.tags, places, added) == len(rows)

    def find(self, rows: Rows, keys: Keys) -> Places:
        """Give the place of each of some rows, -1 where it is not there."""
        given, places = bytes_of(rows), np.empty(len(rows), np.int64)
        at_once = ASKED_AT_ONCE if self._space else max(1, len(rows))
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            _find(given[some], keys, self.homes, self.rows, self.tags, self._space is None, places[some])
            self.let_go()
        return places

    def filled(self, tables: "list[Table]", keys: Keys) -> "Table | None":
        """Put all rows of other tables into it, and give it; None: it ends before."""
        for table in tables:
            for first in range(0, len(table.rows), MOVED_AT_ONCE):
                some = slice(first, first + MOVED_AT_ONCE)
                rows, tags, numbers = table.rows[some], table.tags[some], table.numbers[some]
                if not _move(rows, tags, numbers, keys, self.homes, self.rows, self.tags, self.numbers):
                    return None
                self.let_go()
                table.let_go()
        return self

    def let_go(self) -> None:
        """Take no memory for rows in a file."""
        if self._space:
            self._space.let_go()


@part
def _hash(rows: Any, index: int, keys: Any) -> Any:
    """Multiply words of 32 bits by keys of 64, and add: of two rows' sums one in 2^33 is equal, whichever they are."""
    width = rows.shape[1]
    total = np.uint64(0)
    for word in range(width >> 2):
        at = 4 * word
        value = (
            np.uint64(rows[index, at])
            | np.uint64(rows[index, at + 1]) << np.uint64(8)
            | np.uint64(rows[index, at + 2]) << np.uint64(16)
            | np.uint64(rows[index, at + 3]) << np.uint64(24)
        )
        total += value * keys[word]
    value = np.uint64(0)
    for at in range(width & ~3, width):
        value = value << np.uint64(8) | np.uint64(rows[index, at])
    total += value * keys[width >> 2]
    total ^= total >> np.uint64(32)  # sums of words that count up are spread
    return total * keys[-1]


@part
def _home(hash_: Any, homes: int) -> Any:
    """Give where a row belongs: as far into the table as its hash is into all hashes."""
    return np.int64((hash_ >> np.uint64(32)) * np.uint64(homes) >> np.uint64(32))


@part
def _tag(hash_: Any) -> Any:
    return np.uint8(max(hash_ & np.uint64(255), np.uint64(1)))


@part
def _fetch(
    rows: Any, first: int, size: int, keys: Any, homes: int, table: Any, tags: Any, is_near: bool, hashes: Any
) -> Any:
    """Hash some rows, and look at where they belong: what is far away in memory comes all at once so, not in turn.

    Of a table that is not near, tags alone are.
    """
    sight = np.uint8(0)
    for index in range(size):
        hashes[index] = _hash(rows, first + index, keys)
        home = _home(hashes[index], homes)
        sight |= tags[home]
        if is_near:
            sight |= table[home, 0]
    return sight


@part
def _place(rows: Any, index: int, hash_: Any, homes: int, table: Any, tags: Any) -> Any:
    """Give where a row stands, or else the free place where it would."""
    at, tag = _home(hash_, homes), _tag(hash_)
    while tags[at]:
        if tags[at] == tag:
            difference = np.uint8(0)
            for byte in range(rows.shape[1]):  # to its end: several bytes at a time, and no branch to guess
                difference |= rows[index, byte] ^ table[at, byte]
            if not difference:
                break
        at += 1
    return at


@loop(INT, READ_TABLE, READ_WORDS, INT, TABLE, BYTES, NUMBERS, FLAGS)
def _add(rows: Any, keys: Any, homes: int, table: Any, tags: Any, places: Any, added: Any) -> int:
    """Add rows; say where they stand. Gives how many it got through: less than all if the table ends before."""
    hashes = np.empty(AT_ONCE, np.uint64)
    for first in range(0, len(rows), AT_ONCE):
        size = min(AT_ONCE, len(rows) - first)
        places[first] = _fetch(rows, first, size, keys, homes, table, tags, True, hashes)
        for index in range(first, first + size):
            hash_ = hashes[index - first]
            at = _place(rows, index, hash_, homes, table, tags)
            if not tags[at]:
                if at + 1 == len(tags):
                    return index
                tags[at] = _tag(hash_)
                for byte in range(rows.shape[1]):
                    table[at, byte] = rows[index, byte]
                added[index] = True
            places[index] = at
    return len(rows)


@loop(NOTHING, READ_TABLE, READ_WORDS, INT, TABLE, BYTES, FLAG, NUMBERS)
def _find(rows: Any, keys: Any, homes: int, table: Any, tags: Any, is_near: bool, places: Any) -> None:
    """Say where rows stand, -1 of those that are not there."""
    hashes = np.empty(AT_ONCE, np.uint64)
    for first in range(0, len(rows), AT_ONCE):
        size = min(AT_ONCE, len(rows) - first)
        places[first] = _fetch(rows, first, size, keys, homes, table, tags, is_near, hashes)
        for index in range(first, first + size):
            at = _place(rows, index, hashes[index - first], homes, table, tags)
            places[index] = at if tags[at] else -1


@loop(FLAG, TABLE, BYTES, TABLE, READ_WORDS, INT, TABLE, BYTES, TABLE)
def _move(
    rows: Any, old_tags: Any, numbers: Any, keys: Any, homes: int, table: Any, tags: Any, new_numbers: Any
) -> bool:
    """Put all rows of a table into a larger one. False: that ends before."""
    taken, hashes = np.empty(AT_ONCE + 1, np.int64), np.empty(AT_ONCE, np.uint64)
    for first in range(0, len(rows), AT_ONCE):
        size = 0
        for index in range(first, min(first + AT_ONCE, len(rows))):
            taken[size] = index
            size += (
                old_tags[index] != 0
            )  # half of them are, in no order: a branch would be guessed wrong every other time
        for number in range(size):
            hashes[number] = _hash(rows, taken[number], keys)
        for number in range(size):
            index, at = taken[number], _home(hashes[number], homes)
            while tags[at]:
                at += 1
            if at + 1 == len(tags):
                return False
            tags[at] = old_tags[index]
            for byte in range(rows.shape[1]):
                table[at, byte] = rows[index, byte]
            for byte in range(numbers.shape[1]):
                new_numbers[at, byte] = numbers[index, byte]
    return True


def rows_of(packed: bytes | NDArray[np.uint8], width: int) -> Rows:
    """Look at bytes as rows of so many."""
    view: Rows = np.frombuffer(packed, np.dtype(f"V{width}"))
    return view


def bytes_of(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Look at rows as a table of bytes."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
