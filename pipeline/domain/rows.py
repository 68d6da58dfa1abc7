"""A set of byte strings of one size, in which some thousands are looked up at a time.

The strings are *rows*: a numpy array of the type `V16`, say. A Python set of as many spends some 90 bytes on each of them,
this one 21 to 32 for rows of 16. It is a hash table with linear probing. Each place has a *tag*, a
byte of its row's hash, so that rows are looked at only where a tag agrees. Nothing is ever taken out.

Rows belong where their hashes, taken as fractions, point to: so a table that grows, by any factor, is read and written from
one end to the other.

Rows are compared as a whole, so hashing decides nothing but time. It is keyed, anew in each process: nobody can choose ids
that meet at a place.
"""

import secrets
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.native import (
    BYTES,
    COUNTS,
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

MAX_LOAD = 0.8  # of the places
GROWTH = 1.5
LEAST_PLACES = 64
SPARE = 256  # places behind the last that a hash points to, for what finds all taken up to there
AT_ONCE = 64  # rows that are fetched from memory together
MAX_WIDTH = 56  # bytes of a row
MOST_BINS = 1 << 16  # to count in; numbers that go higher are sorted, which takes ten times as long

_KEYS = np.frombuffer(secrets.token_bytes(8 * (MAX_WIDTH // 4 + 1)), np.uint64) | np.uint64(1)
_KEYS.flags.writeable = False

Rows = NDArray[np.void]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


class RowSet:
    """Rows of `width` bytes, ``MAX_WIDTH`` at the most; and a number for each, if `numbered`, which is 0 at first.

    Attributes:
        numbers: the numbers of all places (`add` says which place a row has).
    """

    def __init__(self, width: int, *, numbered: bool = False) -> None:
        self._width = width
        self._numbered = numbered
        self._keys = _KEYS  # of hashes
        self._size = 0
        self._make(LEAST_PLACES)

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self._rows.nbytes + self._tags.nbytes + self.numbers.nbytes

    def rows(self) -> tuple[Rows, NDArray[np.uint32]]:
        """Give all rows, in no order, and their numbers (if there are any)."""
        taken = self._tags.nonzero()[0]
        rows = rows_of(self._rows[taken].tobytes(), self._width)
        return rows, self.numbers[taken] if self._numbered else self.numbers

    def add(self, rows: Rows) -> tuple[Places, Flags]:
        """Add those of some rows that are not there.

        Give for each where it stands now, which holds until the next call, and whether it was added: of equal ones
        the first is.
        """
        while self._size + len(rows) > MAX_LOAD * self._homes:
            self._grow()
        given = bytes_of(rows)
        places, added = np.empty(len(rows), np.int64), np.zeros(len(rows), np.bool_)
        while _add(given, self._keys, self._homes, self._rows, self._tags, places, added) < len(rows):
            self._grow()  # what was added is found there
        self._size += int(np.count_nonzero(added))
        return places, added

    def has(self, rows: Rows) -> Flags:
        """Tell of each of some rows whether it is there."""
        found = np.empty(len(rows), np.bool_)
        _find(bytes_of(rows), self._keys, self._homes, self._rows, self._tags, found)
        return found

    def _make(self, homes: int) -> None:
        places = homes + SPARE
        rows = np.empty((places, self._width), np.uint8)
        tags = np.zeros(places, np.uint8)  # 0: the place is free. The last one always is
        numbers = np.zeros(places if self._numbered else 0, np.uint32)
        self._homes = homes  # places that hashes point to; changed with the tables, or not at all: loops do not look
        self._rows, self._tags, self.numbers = rows, tags, numbers

    def _grow(self) -> None:
        rows, tags, numbers, homes = self._rows, self._tags, self.numbers, self._homes
        is_moved = False
        while not is_moved:
            homes = int(homes * GROWTH)
            self._make(homes)
            is_moved = _move(rows, tags, numbers, self._keys, homes, self._rows, self._tags, self.numbers)


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
def _fetch(rows: Any, first: int, size: int, keys: Any, homes: int, table: Any, tags: Any, hashes: Any) -> Any:
    """Hash some rows, and look at where they belong: what is far away in memory comes all at once so, not in turn."""
    sight = np.uint8(0)
    for index in range(size):
        hashes[index] = _hash(rows, first + index, keys)
        home = _home(hashes[index], homes)
        sight |= tags[home] | table[home, 0]
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
        places[first] = _fetch(rows, first, size, keys, homes, table, tags, hashes)
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


@loop(NOTHING, READ_TABLE, READ_WORDS, INT, TABLE, BYTES, FLAGS)
def _find(rows: Any, keys: Any, homes: int, table: Any, tags: Any, found: Any) -> None:
    hashes = np.empty(AT_ONCE, np.uint64)
    for first in range(0, len(rows), AT_ONCE):
        size = min(AT_ONCE, len(rows) - first)
        found[first] = _fetch(rows, first, size, keys, homes, table, tags, hashes) != 0
        for index in range(first, first + size):
            found[index] = tags[_place(rows, index, hashes[index - first], homes, table, tags)] != 0


@loop(FLAG, TABLE, BYTES, COUNTS, READ_WORDS, INT, TABLE, BYTES, COUNTS)
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
            if len(numbers):
                new_numbers[at] = numbers[index]
    return True


def counted(numbers: Places) -> tuple[Places, Places]:
    """Give the numbers that are there, none below 0, in order; and how often each is."""
    if len(numbers) and numbers.max() > MOST_BINS:
        return np.unique(numbers, return_counts=True)
    bins = np.bincount(numbers)
    present = bins.nonzero()[0]
    return present, bins[present]


def rows_of(packed: bytes | NDArray[np.uint8], width: int) -> Rows:
    """Look at bytes as rows of so many."""
    view: Rows = np.frombuffer(packed, np.dtype(f"V{width}"))
    return view


def bytes_of(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Look at rows as a table of bytes."""
    return rows.view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
