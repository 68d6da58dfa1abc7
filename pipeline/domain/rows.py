"""A set of byte strings of one size, in which some thousands are looked up at a time.

The strings are *rows*: a numpy array of the type `V16`, say. A Python set of as many spends some 90 bytes on each of them,
this one 21 to 43 for rows of 16, and little more time. It is a hash table of buckets with 32 places. Each place has a *tag*, a
byte of its row's hash, and the tags of a bucket are compared in one go, so that rows are looked at only where a tag
agrees (as in Abseil's Swiss tables). The few that do not fit into their bucket stand in a dict. Nothing is ever taken out.

Rows are compared as a whole, so hashing decides nothing but time. It is keyed, anew in each process: nobody can choose ids
that meet in a bucket.
"""

import secrets
import sys
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLACES = 32  # of a bucket
MAX_LOAD = 0.8  # of all places; with even hashes one of 150 rows does not fit then
MAX_WIDTH = 56  # bytes of a row
MOST_BINS = 1 << 16  # to count in; numbers that go higher are sorted, which takes ten times as long
SPLIT_BUCKETS = 512  # at a time, so that they stay in the processor's cache

_ONE, _HALF = np.uint64(1), np.uint64(32)
_KEYS = np.frombuffer(secrets.token_bytes(8 * (MAX_WIDTH // 4 + 1)), np.uint64)

Rows = NDArray[np.void]
Places = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class RowSet:
    """Rows of `width` bytes, ``MAX_WIDTH`` at the most; and a number for each, if `numbered`, which is 0 at first.

    Attributes:
        numbers: the numbers of all places (`add` says which place a row has).
    """

    def __init__(self, width: int, *, numbered: bool = False) -> None:
        self._type = np.dtype(f"V{width}")
        self._numbered = numbered
        self._size = 0
        self._make(bits=1)

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """The memory that it takes, but for rows that do not fit."""
        return self._rows.nbytes + self._tags.nbytes + self._filled.nbytes + self.numbers.nbytes

    def rows(self) -> tuple[Rows, NDArray[np.uint32]]:
        """Give all rows, in no order, and their numbers (if there are any)."""
        taken = self._tags.nonzero()[0]
        rows = np.concatenate([self._rows[taken], rows_of(b"".join(self._unfit), self._type.itemsize)])
        places = np.append(taken, np.fromiter(self._unfit.values(), np.int64))
        return rows, self.numbers[places] if self._numbered else self.numbers

    def add(self, rows: Rows) -> tuple[Places, Flags]:
        """Add those of some rows that are not there.

        Give for each where it stands now, which holds until the next call, and whether it was added: of equal ones
        the first is.
        """
        self._reserve(len(rows))
        order, hashes = _in_order(rows)
        places = self._search(rows, order, hashes)
        missing = places.take(order) < 0
        if not missing.all():
            order, hashes = order[missing], hashes[missing]
        repeats, firsts = _repeats(rows, order, hashes)
        if len(repeats):
            is_repeat = np.zeros(len(rows), np.bool_)
            is_repeat[repeats] = True
            fresh = ~is_repeat[order]
            order, hashes = order[fresh], hashes[fresh]
        self._insert(rows, order, hashes, places)
        places[repeats] = places[firsts]
        added = np.zeros(len(rows), np.bool_)
        added[order] = True
        self._size += len(order)
        return places, added

    def has(self, rows: Rows) -> Flags:
        """Tell of each of some rows whether it is there."""
        return self._search(rows, *_in_order(rows)) >= 0

    def _make(self, bits: int) -> None:
        self._bits = bits  # of a row's hash, the first ones, that say which is its bucket
        places = PLACES << bits
        self._rows: Rows = np.empty(places, self._type)
        self._tags = np.zeros(places, np.uint8)  # 0: the place is free
        self._filled = np.zeros(1 << bits, np.uint8)  # places of each bucket, from its first on
        self._unfit: dict[bytes, int] = {}  # rows whose bucket is full, and their places, after those of all buckets
        self.numbers = np.zeros(places if self._numbered else 0, np.uint32)

    def _reserve(self, more: int) -> None:
        """Grow now, if so many more would not fit otherwise."""
        while self._size + more > MAX_LOAD * len(self._tags):
            self._double()

    def _double(self) -> None:
        """Split each bucket in two, by one more bit of the hash."""
        rows, tags, filled, numbers, unfit = self._rows, self._tags, self._filled, self.numbers, self._unfit
        self._make(self._bits + 1)
        for first in range(0, len(filled), SPLIT_BUCKETS):
            sizes = filled[first : first + SPLIT_BUCKETS]
            taken = tags[first * PLACES : (first + SPLIT_BUCKETS) * PLACES].nonzero()[0] + first * PLACES
            some = rows.take(taken)
            buckets = (_hashes(some) >> np.uint64(64 - self._bits)).astype(np.int64)
            right = buckets & 1
            starts = (np.cumsum(sizes, dtype=np.int64) - sizes).repeat(sizes)
            to_right = np.cumsum(right) - right  # of all before it
            to_right -= to_right.take(starts)  # of those before it in its bucket
            rank = np.where(right, to_right, np.arange(len(taken)) - starts - to_right)
            places = buckets * PLACES + rank
            self._rows[places] = some
            self._tags[places] = tags.take(taken)
            if self._numbered:
                self.numbers[places] = numbers.take(taken)
            self._filled[2 * first : 2 * (first + len(sizes))] = np.bincount(
                buckets - 2 * first, minlength=2 * len(sizes)
            )
        if unfit:
            some = rows_of(b"".join(unfit), self._type.itemsize)
            places = np.empty(len(some), np.int64)
            self._insert(some, *_in_order(some), places)
            if self._numbered:
                self.numbers[places] = numbers[list(unfit.values())]

    def _buckets_and_tags(self, hashes: Hashes) -> tuple[Places, NDArray[np.uint8]]:
        """Give where rows belong, and their tags. In the order of hashes, buckets are in order, too."""
        buckets = (hashes >> np.uint64(64 - self._bits)).astype(np.int64)
        return buckets, np.maximum(hashes.astype(np.uint8), 1)

    def _search(self, rows: Rows, order: Places, hashes: Hashes) -> Places:
        """Give the places of rows; -1: it is not there."""
        buckets, tags = self._buckets_and_tags(hashes)
        near = self._tags.view(f"V{PLACES}").take(buckets).view(np.uint8).reshape(-1, PLACES)
        agreeing = (near == tags[:, None]).ravel().nonzero()[0]
        index = agreeing // PLACES
        place, row = buckets.take(index) * PLACES + agreeing % PLACES, order.take(index)
        same = _are_equal(self._rows.take(place), rows.take(row))
        places = np.full(len(rows), -1, np.int64)
        places[row[same]] = place[same]
        if self._unfit:
            for each in order[self._filled.take(buckets) == PLACES].tolist():
                if places[each] < 0:
                    places[each] = self._unfit.get(rows[each].tobytes(), -1)
        return places

    def _insert(self, rows: Rows, order: Places, hashes: Hashes, places: Places) -> None:
        """Put rows that differ from each other, and are not there, into their buckets; write down where."""
        if not len(order):
            return
        buckets, tags = self._buckets_and_tags(hashes)
        starts, lengths = runs(buckets)  # those for one bucket stand side by side
        place = self._filled.take(buckets) + np.arange(len(order)) - starts.repeat(lengths)
        filled = buckets[starts]
        self._filled[filled] = np.minimum(self._filled[filled] + lengths, PLACES)
        fits = place < PLACES
        if not fits.all():
            self._add_unfit(rows, order[~fits], places)
            order, buckets, tags, place = order[fits], buckets[fits], tags[fits], place[fits]
        at = buckets * PLACES + place
        self._tags[at] = tags
        self._rows[at] = rows.take(order)
        places[order] = at

    def _add_unfit(self, rows: Rows, unfit: Places, places: Places) -> None:
        first = len(self._tags)
        for each in unfit.tolist():
            places[each] = self._unfit[rows[each].tobytes()] = first + len(self._unfit)
        if self._numbered and len(self.numbers) < first + len(self._unfit):
            self.numbers = np.append(self.numbers, np.zeros(first // 64 + 2 * len(unfit), np.uint32))


def runs(ordered: NDArray[Any]) -> tuple[Places, Places]:
    """Give where runs of equal numbers start in an array, and how long they are."""
    begins = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    starts = begins.nonzero()[0]
    return starts, np.append(starts[1:], len(ordered)) - starts


def by_two(value_of: Mapping[int, int], *, bits: int, else_: int) -> NDArray[np.uint16]:
    """Make a table of the values of each two characters, `bits` of the first before those of the second.

    Its index is the two as they lie in memory, seen as one number. Where a character has no value it says `else_`.
    """
    table = np.full(1 << 16, else_, np.uint16)
    for first, second in product(value_of, repeat=2):
        table[int.from_bytes((first, second), sys.byteorder)] = value_of[first] << bits | value_of[second]
    return table


def counted(numbers: Places) -> tuple[Places, Places]:
    """Give the numbers that are there, none below 0, in order; and how often each is."""
    if len(numbers) and numbers.max() > MOST_BINS:
        return np.unique(numbers, return_counts=True)
    bins = np.bincount(numbers)
    present = bins.nonzero()[0]
    return present, bins[present]


def in_each(flags: NDArray[np.bool_]) -> Flags:
    """Tell in which rows all are set."""
    # Mostly they are in all rows, which is found sooner than row by row.
    return np.ones(len(flags), np.bool_) if flags.all() else np.asarray(flags.all(axis=1))


def _in_order(rows: Rows) -> tuple[Places, Hashes]:
    """Give rows' indexes in the order of their hashes, and these."""
    hashes = _hashes(rows)
    order = np.argsort(hashes)
    return order, hashes[order]


def rows_of(packed: bytes | NDArray[np.uint8], width: int) -> Rows:
    """Look at bytes as rows of so many."""
    view: Rows = np.frombuffer(packed, np.dtype(f"V{width}"))
    return view


def _hashes(rows: Rows) -> Hashes:
    """Multiply words of 32 bits by keys of 64, and add: of two rows' sums one in 2^33 is equal, whichever they are."""
    width = rows.dtype.itemsize
    padded = np.zeros((len(rows), -(-width // 4) * 4), np.uint8)
    padded[:, :width] = _bytes_of(rows)
    words = padded.view(np.uint32).astype(np.uint64)
    hashes: Hashes = words[:, 0] * _KEYS[0]
    for word in range(1, words.shape[1]):
        hashes += words[:, word] * _KEYS[word]
    hashes ^= hashes >> _HALF  # sums of words that count up are spread
    hashes *= _KEYS[-1] | _ONE
    return hashes


def _repeats(rows: Rows, order: Places, hashes: Hashes) -> tuple[Places, Places]:
    """Give the rows that come again among some, and for each the first that equals it: indexes of both."""
    again = (hashes[1:] == hashes[:-1]).nonzero()[0] + 1
    if not len(again):
        return again, again
    if not _are_equal(rows.take(order[again]), rows.take(order[again - 1])).all():
        return _repeats_of_one_hash(rows, np.union1d(order[again], order[again - 1]))
    starts, lengths = runs(hashes)
    firsts = np.minimum.reduceat(order, starts).repeat(lengths)
    later = order != firsts
    return order[later], firsts[later]


def _repeats_of_one_hash(rows: Rows, suspects: Places) -> tuple[Places, Places]:
    """Do the same where rows that differ have the same hash, which practically never happens."""
    first: dict[Any, int] = {}
    firsts = np.array([first.setdefault(rows[index].tobytes(), index) for index in suspects.tolist()], np.int64)
    later = suspects != firsts
    return suspects[later], firsts[later]


def _are_equal(some: Rows, others: Rows) -> Flags:
    return in_each(_bytes_of(some) == _bytes_of(others))


def _bytes_of(rows: Rows) -> NDArray[np.uint8]:
    return rows.view(np.uint8).reshape(-1, rows.dtype.itemsize)
