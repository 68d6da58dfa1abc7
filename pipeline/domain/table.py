"""A hash table with linear probing of byte strings of one size.

Each place has a *tag*, a byte of its row's hash, so that rows are looked at only where a tag agrees. Nothing is ever taken out.

Rows belong where their hashes, taken as fractions, point to: so tables of any sizes are put into a larger one by reading and
writing each from one end to the other.

The rows of a table may be in a file. While its *index*, the tags and numbers, is in memory, most questions about a row that is
not there do not read the file: of 70, one does. The index may be in the file, too.
"""

import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

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
    WORDS,
    loop,
    part,
)

SPARE = 256  # places behind the last that a hash points to, for what finds all taken up to there
LEAST_MAPPED = 1 << 17  # bytes
AT_ONCE = 64  # rows that are fetched from memory together
MAPPED_BYTES = 1 << 16  # of a file that the kernel maps where one byte is read (fault_around_bytes)
# Places that are written, and that are looked at, in a file before the pages of that are let go of.
MOVED_AT_ONCE = 1 << 16
LOOKED_AT_ONCE = 128

Rows = NDArray[np.void]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Keys = NDArray[np.uint64]  # of hashes


class Space(Protocol):
    """Bytes in a file that is mapped into memory."""

    cells: NDArray[np.uint8]

    def will_read(self, start: int, end: int) -> None:
        """Have some bytes read from the disk together, where they are not in memory."""

    def let_go(self) -> None:
        """Take no memory for what was read or written until now. Its content stays, and can be read again."""


class Shape(NamedTuple):
    """What a table has room for."""

    homes: int  # places that hashes point to; the arrays are larger than it: loops do not look
    width: int  # bytes of a row
    number_bytes: int

    @property
    def places(self) -> int:
        """How many rows its arrays have room for."""
        return self.homes + SPARE

    @property
    def row_bytes(self) -> int:
        """The bytes of all rows."""
        return self.places * self.width

    @property
    def index_bytes(self) -> int:
        """The bytes of all tags and numbers."""
        return self.places * (1 + self.number_bytes)

    @property
    def nbytes(self) -> int:
        """The bytes of all."""
        return self.row_bytes + self.index_bytes


class Table:
    """Rows, their tags, and a number of some bytes for each, which is 0 at first.

    Args:
        shape: what it has room for.
        space: for the rows, and for the index if it is larger than that. Else they are in memory.

    Attributes:
        size: how many rows there are; whoever adds them counts them.
        index_nbytes: the memory that its index takes.
        nbytes: the memory that it takes.
    """

    def __init__(self, shape: Shape, space: Space | None = None) -> None:
        rows = space.cells[: shape.row_bytes] if space else _zeros(shape.row_bytes)
        is_index_filed = space is not None and len(space.cells) > shape.row_bytes
        index = space.cells[shape.row_bytes :] if space and is_index_filed else _zeros(shape.index_bytes)
        self.index_nbytes = 0 if is_index_filed else shape.index_bytes
        self.nbytes = self.index_nbytes + (0 if space else shape.row_bytes)
        # Where it is a file's, all of its pages may be mapped.
        self._is_index_small = not is_index_filed or shape.index_bytes <= LOOKED_AT_ONCE * MAPPED_BYTES
        self.homes = shape.homes
        self.rows = rows.reshape(shape.places, shape.width)
        self.tags = index[: shape.places]  # 0: the place is free. The last one always is
        self.numbers = index[shape.places :].reshape(shape.places, shape.number_bytes)  # little-endian
        self.size = 0
        self._space = space

    @property
    def filed_bytes(self) -> int:
        """What it has in a file."""
        return len(self._space.cells) if self._space else 0

    def add(self, rows: Rows, hashes: Hashes, places: Places, added: Flags) -> bool:
        """Add those of some rows that are not there; say where each is, and whether it was added. False: it ends before."""
        return _add(bytes_of(rows), hashes, self.homes, self.rows, self.tags, places, added) == len(rows)

    def find(self, rows: Rows, hashes: Hashes) -> Places:
        """Give the place of each of some rows, -1 where it is not there."""
        given, places, first = bytes_of(rows), np.empty(len(rows), np.int64), 0
        at_once = len(rows) if self._is_index_small else LOOKED_AT_ONCE
        most = LOOKED_AT_ONCE if self._space else len(rows)
        while first < len(rows):
            some = slice(first, first + at_once)
            found = places[some]
            first += _find(given[some], hashes[some], self.homes, self.rows, self.tags, not self._space, most, found)
            self.let_go()
        return places

    def filled(self, tables: "list[Table]", keys: Keys) -> "Table | None":
        """Put all rows of other tables into it, and give it; None: it ends before."""
        parts = -(-len(self.rows) // MOVED_AT_ONCE)
        for number in range(parts):  # the same part of all of them, in which the same hashes are
            for table in tables:
                some = slice(*(len(table.rows) * end // parts for end in (number, number + 1)))
                table.will_read(some)
                rows, tags, numbers = table.rows[some], table.tags[some], table.numbers[some]
                if not _move(rows, tags, numbers, keys, self.homes, self.rows, self.tags, self.numbers):
                    return None
            for table in (self, *tables):
                table.let_go()
        self.size = sum(table.size for table in tables)
        return self

    def numbers_at(self, places: Places) -> Iterator[tuple[slice, Numbers, Places]]:
        """Give numbers, and which of some places are to be looked up in them: a part of the places at a time."""
        at_once = max(1, len(places)) if self._is_index_small else LOOKED_AT_ONCE
        for first in range(0, len(places), at_once):
            some = slice(first, first + at_once)
            yield some, self.numbers, places[some]
            self.let_go()

    def will_read(self, some: slice) -> None:
        """Have rows in a file read together."""
        if self._space:
            width = self.rows.shape[1]
            self._space.will_read(some.start * width, some.stop * width)

    def let_go(self) -> None:
        """Take no memory for what is in a file."""
        if self._space:
            self._space.let_go()


def _zeros(size: int) -> NDArray[np.uint8]:
    """Give bytes whose memory is the system's again when they end, if they are many: an allocator might keep it."""
    if size < LEAST_MAPPED:
        return np.zeros(size, np.uint8)
    try:
        return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    except OSError as error:
        raise MemoryError(f"{size} bytes: {error.strerror}") from error


def hashed(rows: Rows, keys: Keys) -> Hashes:
    """Give the hash of each of some rows."""
    hashes = np.empty(len(rows), np.uint64)
    _hash_all(bytes_of(rows), keys, hashes)
    return hashes


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


@loop(NOTHING, READ_TABLE, READ_WORDS, WORDS)
def _hash_all(rows: Any, keys: Any, hashes: Any) -> None:
    for index in range(len(rows)):
        hashes[index] = _hash(rows, index, keys)


@part
def _fetch(hashes: Any, first: int, size: int, homes: int, table: Any, tags: Any, is_near: bool) -> Any:
    """Look at where some rows belong: what is far away in memory comes all at once so, not in turn.

    Of a table that is not near, tags alone are.
    """
    sight = np.uint8(0)
    for index in range(first, first + size):
        home = _home(hashes[index], homes)
        sight |= tags[home]
        if is_near:
            sight |= table[home, 0]
    return sight


@part
def _place(rows: Any, index: int, hash_: Any, homes: int, table: Any, tags: Any) -> Any:
    """Give where a row stands, or else the free place where it would; and how many rows were looked at for that."""
    at, tag, looked = _home(hash_, homes), _tag(hash_), 0
    while tags[at]:
        if tags[at] == tag:
            looked += 1
            difference = np.uint8(0)
            for byte in range(rows.shape[1]):  # to its end: several bytes at a time, and no branch to guess
                difference |= rows[index, byte] ^ table[at, byte]
            if not difference:
                break
        at += 1
    return at, looked


@loop(INT, READ_TABLE, WORDS, INT, TABLE, BYTES, NUMBERS, FLAGS)
def _add(rows: Any, hashes: Any, homes: int, table: Any, tags: Any, places: Any, added: Any) -> int:
    """Add rows; say where they stand. Gives how many it got through: less than all if the table ends before."""
    for first in range(0, len(rows), AT_ONCE):
        size = min(AT_ONCE, len(rows) - first)
        places[first] = _fetch(hashes, first, size, homes, table, tags, True)
        for index in range(first, first + size):
            at, _ = _place(rows, index, hashes[index], homes, table, tags)
            if not tags[at]:
                if at + 1 == len(tags):
                    return index
                tags[at] = _tag(hashes[index])
                for byte in range(rows.shape[1]):
                    table[at, byte] = rows[index, byte]
                added[index] = True
            places[index] = at
    return len(rows)


@loop(INT, READ_TABLE, WORDS, INT, TABLE, BYTES, FLAG, INT, NUMBERS)
def _find(rows: Any, hashes: Any, homes: int, table: Any, tags: Any, is_near: bool, most: int, places: Any) -> int:
    """Say where rows stand, -1 of those that are not there. Gives how many it got through until it had looked at so many."""
    looked = 0
    for first in range(0, len(rows), AT_ONCE):
        size = min(AT_ONCE, len(rows) - first)
        places[first] = _fetch(hashes, first, size, homes, table, tags, is_near)
        for index in range(first, first + size):
            at, more = _place(rows, index, hashes[index], homes, table, tags)
            places[index] = at if tags[at] else -1
            looked += more
            if looked >= most:
                return index + 1
    return len(rows)


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
            size += old_tags[index] != 0  # many are, in no order: a branch would often be guessed wrong
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
