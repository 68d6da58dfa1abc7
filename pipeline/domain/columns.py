"""The values of a batch: its votes in columns, all else one by one.

What a value is, ``record.decode`` alone says. This module makes use of how alike votes are: those that a publisher sends for
one option differ in the vote's id, the voter's and the instant, and are the same bytes elsewhere. So values are laid below
each other as rows; of those that equal each other outside of these three fields one is decoded, the *model*, and the others
have their fields where it has them.

This is the same as to decode each of them. Where a vote has no backslash, each of its strings is what stands between
two quotes, and a string of which characters are replaced by others that are neither quote nor backslash nor control is
still one string, with these characters; digits that replace digits are still one number, unless they begin with 0. Only
characters of ids and digits are taken so; what has others, or is like no model, is decoded by itself.
"""

import secrets
from binascii import unhexlify
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.record import VOTE_ID_BYTES, VOTER_CHARACTERS, Kind, Marker, Vote, decode, kind_of
from pipeline.domain.rows import Flags, Places, Rows, by_two, in_each, rows_of
from pipeline.domain.strings import Strings

LEAST_ROWS = 48  # fewer are sooner decoded one by one
LEAST_PER_KIND = 3  # and so are kinds of which, of one layout, fewer come
LONGEST_ROW = 512  # bytes; a vote has some 250, and all rows have as many as the longest
MOST_LAYOUTS = 16  # a layout of fewer than one of so many of the values that are left is not worth looking for
MOST_FAILURES = 4  # to find one that is; then all that are left are decoded one by one
MOST_STRAYS = 64  # values met while looking that are no model, such as markers
MOST_MODELS = 4096  # at hand, of some 250 bytes each
MOST_DIGITS = 15  # any number of so many is an instant
MOST_INSTANT = 10**MOST_DIGITS - 1

_DASHES = (8, 13, 18, 23)  # in 01234567-89ab-cdef-0123-456789abcdef
_DASH, _ZERO = np.frombuffer(b"-0", np.uint8)
_FILLERS = np.frombuffer(b"0x1", np.uint8)  # in place of what the three fields have
_NO_BYTE = 256
# Of each two characters, the byte that they are in hexadecimal.
_BYTES = by_two({digit: int(chr(digit), 16) for digit in b"0123456789abcdefABCDEF"}, bits=4, else_=_NO_BYTE)
_IS_OF_VOTER = np.isin(np.arange(256), list(VOTER_CHARACTERS))
_POWERS = 10 ** np.arange(MOST_DIGITS, dtype=np.int64)[::-1]
# Odd, and others in each process, so that nobody can choose votes whose kinds have one hash: that would take time, no more.
_KEYS = np.frombuffer(secrets.token_bytes(LONGEST_ROW + 8), np.uint64) | np.uint64(1)
_HALF = np.uint64(32)
BESIDE = 3  # bytes before and behind a field, by which most values of another layout are told at once

Characters = NDArray[np.uint8]  # a row for each value


class Columns(NamedTuple):
    """The values of a batch. Columns are as long as the batch, and mean nothing where there is no vote."""

    vote_ids: Rows  # 16 bytes each
    voter_ids: NDArray[np.bytes_]
    cast_at: NDArray[np.int64]  # ms since the epoch
    kind_of: NDArray[np.int64]  # index of the vote's kind; -1: no vote
    kinds: list[Kind]
    others: dict[int, Marker | None]  # what is no vote, by its place, in order; None: malformed


class Layout(NamedTuple):
    """Where the three fields stand in a value in which votes differ."""

    vote_id: slice
    voter_id: slice
    cast_at: slice


class _Model(NamedTuple):
    """A vote, as far as it is the same as others."""

    kind: tuple[str, ...]
    layout: Layout


class _Piece(NamedTuple):
    """Columns of some votes, at `places`."""

    places: Places
    vote_ids: Rows
    voter_ids: NDArray[np.bytes_]
    cast_at: NDArray[np.int64]
    kind_of: NDArray[np.int64]


def read_columns(values: Strings) -> Columns:
    """Decode the values of a batch."""
    reading = _Reading(values)
    reading.read()
    return reading.columns()


class _Reading:
    """The working memory of it."""

    def __init__(self, values: Strings) -> None:
        self.values = values
        self.kinds: defaultdict[tuple[str, ...], int] = defaultdict(count().__next__)
        self.pieces: list[_Piece] = []
        self.others: dict[int, Marker | None] = {}

    def read(self) -> None:
        are_alone = self.values.lengths > LONGEST_ROW
        places = (~are_alone).nonzero()[0]
        are_alone[self.alike(places) if len(places) >= LEAST_ROWS else places] = True
        self.one_by_one(are_alone.nonzero()[0].tolist())

    def alike(self, places: Places) -> Places:
        """Read those of some values that are laid out as many others are. Give the places of the rest."""
        values = self.values if len(places) == len(self.values) else self.values.take(places)
        width = -(-max(0, int(values.lengths.max())) // 8) * 8
        rows = values.rows(width + 8)
        # A row ends with the value's length: else a value would equal one that has zeros at its end.
        rows.view(np.int64)[:, -1] = values.lengths
        rest, strays, failures = [], 0, 0
        while len(places) and strays < MOST_STRAYS and failures < MOST_FAILURES:
            model = _model(self.values[int(places[0])] or b"")
            if model is None:
                strays += 1
                rest.append(places[:1])
                places, rows = places[1:], rows[1:]
                continue
            are_like = _are_beside(rows, model.layout)
            like = are_like.nonzero()[0]
            if len(like) < max(LEAST_ROWS, len(rows) // MOST_LAYOUTS):
                failures += 1
                rest.append(places[like])
            else:
                are_read = self.laid_out(rows.take(like, axis=0), places[like], model.layout)
                rest.append(places[like[~are_read]])
            places, rows = places[~are_like], rows[~are_like]
        return np.concatenate([*rest, places])

    def laid_out(self, rows: Characters, places: Places, layout: Layout) -> Flags:
        """Read votes of one layout. Tell which of the rows are such."""
        vote_ids, are_ids = _vote_ids(rows[:, layout.vote_id])
        voter_ids, are_voters = _voter_ids(rows[:, layout.voter_id])
        cast_at, are_numbers = _numbers(rows[:, layout.cast_at])
        kinds = self.kinds_of(rows, layout)
        are_good = are_ids & are_voters & are_numbers & (kinds >= 0)
        self.pieces.append(
            _Piece(places[are_good], vote_ids[are_good], voter_ids[are_good], cast_at[are_good], kinds[are_good])
        )
        return are_good

    def kinds_of(self, alike: Characters, layout: Layout) -> NDArray[np.int64]:
        """Give the kind of each row, if it is a vote of this layout when its fields are good; else -1.

        Writes over the fields: the same into all rows, so that those of one kind are equal.
        """
        for field, character in zip(layout, _FILLERS, strict=True):
            alike[:, field] = character
        alike[:, layout.vote_id][:, _DASHES] = _DASH
        words = alike.view(np.uint64)
        # A key's multiple keeps a word's low zeros, so its high bits are brought down first: else two words that differ in
        # these alone could be chosen so that their differences make up for each other under any keys.
        hashes = (words ^ (words >> _HALF)) @ _KEYS[: words.shape[1]]
        leaders = _leaders(hashes)
        firsts = (leaders == np.arange(len(leaders))).nonzero()[0]
        kinds = np.full(len(words), -1)
        if len(firsts) * LEAST_PER_KIND > len(words):
            return kinds
        for first in firsts.tolist():
            model = _known_model(alike[first, : words[first, -1]].tobytes())
            if model is not None and model.layout == layout:
                kinds[first] = self.kinds[model.kind]
        are_same = in_each(words == words.take(leaders, axis=0))
        return np.where(are_same, kinds.take(leaders), -1)

    def one_by_one(self, places: Iterable[int]) -> None:
        """Read values by themselves."""
        at: list[int] = []
        votes: list[Vote] = []
        for place in places:
            record = decode(self.values[place] or b"")
            if isinstance(record, Vote):
                at.append(place)
                votes.append(record)
            else:
                self.others[place] = record
        self.pieces.append(
            _Piece(
                np.array(at, np.int64),
                rows_of(unhexlify("".join([vote.vote_id for vote in votes]).replace("-", "")), VOTE_ID_BYTES),
                np.array([vote.voter_id for vote in votes], np.bytes_),
                np.array([vote.cast_at for vote in votes], np.int64),
                np.array([self.kinds[kind_of(vote)] for vote in votes], np.int64),
            )
        )

    def columns(self) -> Columns:
        """Put the pieces together."""
        size = len(self.values)
        whole = _Piece(
            np.arange(size),
            np.zeros(size, f"V{VOTE_ID_BYTES}"),
            np.zeros(size, max((piece.voter_ids.dtype for piece in self.pieces), default=np.dtype("S1"))),
            np.zeros(size, np.int64),
            np.full(size, -1, np.int64),
        )
        for piece in self.pieces:
            for column, part in zip(whole[1:], piece[1:], strict=True):
                column[piece.places] = part
        return Columns(*whole[1:], [Kind(*kind) for kind in self.kinds], self.others)


def _model(value: bytes) -> _Model | None:
    """Decode a vote, and find where its fields stand. None: it is no vote, or they are not to be found."""
    vote = decode(value)
    if not isinstance(vote, Vote) or b"\\" in value:
        return None
    fields = (
        _find(value, b'"vote_id"', vote.vote_id.encode()),
        _find(value, b'"voter_id"', vote.voter_id.encode()),
        _find(value, b'"cast_at"', b"%d" % vote.cast_at),
    )
    if None in fields or vote.cast_at > MOST_INSTANT:
        return None
    return _Model(kind_of(vote), Layout(*fields))  # type: ignore[arg-type]


_known_model = lru_cache(maxsize=MOST_MODELS)(_model)  # of values whose fields are the same in all: they come again


def _find(value: bytes, key: bytes, text: bytes) -> slice | None:
    """Find the text of a field that a vote without backslashes has."""
    start = value.find(text, value.find(key))
    if start < 0 or value.count(key) != 1:  # it stands twice, or also in a part that is skipped
        return None
    return slice(start, start + len(text))


def _are_beside(rows: Characters, layout: Layout) -> Flags:
    """Tell of which rows the bytes beside the fields are those of the first one."""
    beside = [
        column
        for field in layout
        for column in (*range(field.start - BESIDE, field.start), *range(field.stop, field.stop + BESIDE))
        if column < rows.shape[1]
    ]
    some = rows[:, beside]
    return in_each(some == some[0])


def _leaders(hashes: NDArray[np.uint64]) -> Places:
    """Give for each the place of the first that equals it."""
    short = hashes >> np.uint64(48)
    first = np.empty(1 << 16, np.int64)
    first[short[::-1]] = np.arange(len(hashes))[::-1]  # of those of one number the last that is written stays
    leaders = first.take(short)
    if np.array_equal(hashes.take(leaders), hashes):
        return leaders
    _, firsts, number_of = np.unique(hashes, return_index=True, return_inverse=True)  # many kinds, or a rare chance
    return firsts.take(number_of)


def _vote_ids(texts: Characters) -> tuple[Rows, Flags]:
    """Read UUIDs, and tell which are such."""
    digits = np.ascontiguousarray(np.delete(texts, _DASHES, axis=1))
    packed = _BYTES.take(digits.view(np.uint16))
    are_good = in_each(texts[:, _DASHES] == _DASH) & in_each(packed < _NO_BYTE)
    return packed.astype(np.uint8).view(f"V{VOTE_ID_BYTES}").ravel(), are_good


def _voter_ids(texts: Characters) -> tuple[NDArray[np.bytes_], Flags]:
    """Read voter ids, and tell which are such."""
    return np.ascontiguousarray(texts).view(f"S{texts.shape[1]}").ravel(), in_each(_IS_OF_VOTER.take(texts))


def _numbers(texts: Characters) -> tuple[NDArray[np.int64], Flags]:
    """Read numbers of some digits, and tell which are such."""
    digits = texts - _ZERO
    are_good = in_each(digits <= 9)
    if texts.shape[1] > 1:
        are_good &= digits[:, 0] > 0
    return digits.astype(np.int64) @ _POWERS[-texts.shape[1] :], are_good
