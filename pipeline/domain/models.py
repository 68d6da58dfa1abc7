"""Votes that others are compared with, and the loops that compare them.

What a value is, ``record.decode`` alone says. Its readers make use of how alike votes are: those that a publisher sends for
one option differ in the vote's id, the voter's and the instant, and are the same bytes elsewhere. So one of them is decoded,
the *model*; what is as long, and equals it outside of these three fields, has its fields where the model has them. Models
are kept for the batches that follow.

This is the same as to decode each of them. Where a vote has no backslash, each of its strings is what stands between
two quotes, and a string of which characters are replaced by others that are neither quote nor backslash nor control is
still one string, with these characters; digits that replace digits are still one number, unless they begin with 0. Only
characters of ids and digits are taken so; what has others, or is like no model, is decoded by itself.

The loops, and what they call, stand in one module: Numba's cache of a loop looks at the changes of its own file only.
"""

import secrets
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.native import (
    BYTES,
    FLAG,
    INT,
    NOTHING,
    NUMBER_TABLE,
    NUMBERS,
    OVERLAPPING_WORDS,
    READ_BYTES,
    READ_NUMBERS,
    READ_WORDS,
    TABLE,
    WORD_TABLE,
    loop,
    part,
)
from pipeline.domain.record import VOTER_CHARACTERS, Vote, decode, kind_of
from pipeline.domain.rows import Places, bytes_of
from pipeline.domain.strings import Strings

LONGEST = 512  # bytes of a value that is compared with models; a vote has some 250
MOST_MODELS, MOST_LAYOUTS = 4096, 512  # at hand; then all are forgotten, and those that are needed learned again
MOST_OF_LENGTH = 16  # layouts of values that are as long
MOST_DIGITS = 15  # any number of so many is an instant
MOST_INSTANT = 10**MOST_DIGITS - 1

_FILLERS = (b"0", b"x", b"1")  # in place of what the three fields have
_DASHES = (8, 13, 18, 23)  # in 01234567-89ab-cdef-0123-456789abcdef
VOTE_ID_SIZE = 36  # characters
_DASH, _ZERO, _NIBBLE, _NO_DIGIT = np.uint8(ord("-")), ord("0"), np.uint8(4), np.uint8(0xF0)
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
for _character in b"0123456789abcdefABCDEF":
    _DIGITS[_character] = int(chr(_character), 16)
_IS_NOT_OF_VOTER = np.isin(np.arange(256), list(VOTER_CHARACTERS), invert=True).astype(np.uint8)
_KEYS = np.frombuffer(secrets.token_bytes(LONGEST), np.uint64) | np.uint64(1)

WORD = 8  # bytes that are looked at together
MOST_WORDS = LONGEST // WORD
_HALF = np.uint64(32)
# What loops know of a layout: where its fields begin, how long those of them are that have no fixed length, how many words have
# something beside the fields, and the next layout of values that are as long.
_VOTE_ID, _VOTER_ID, _CAST_AT, _VOTER_SIZE, _CAST_AT_SIZE, _WORDS, _NEXT = range(7)


class Field(NamedTuple):
    """Where a field's text stands in a value."""

    start: int
    stop: int


class Layout(NamedTuple):
    """Where the three fields stand in which votes differ."""

    vote_id: Field
    voter_id: Field
    cast_at: Field


class Models:
    """Votes that others are compared with: by the words that have something beside the fields, these masked out."""

    def __init__(self) -> None:
        self.is_full = False  # what cannot be learned now can be when all is forgotten
        self.kinds: list[tuple[str, ...]] = []  # of each model
        self.widest = 1  # characters of a voter
        self._layouts: dict[tuple[int, Layout], int] = {}
        self.layouts = np.zeros((0, _NEXT + 1), np.int64)
        self.first_layout = np.full(LONGEST + 1, -1)  # by the length of a value
        self.places = np.zeros((0, MOST_WORDS), np.int64)  # of each layout's words
        self.masks = np.zeros((0, MOST_WORDS), np.uint64)
        self.words = np.zeros((0, MOST_WORDS), np.uint64)  # of each model
        self.layout_of = np.zeros(MOST_MODELS, np.int64)
        self.slots = np.full(2 * MOST_MODELS, -1)  # a hash table: the model; linear probing

    def learn(self, value: bytes, vote: Vote) -> bool:
        """Take a vote as a model. False: others cannot be told by it."""
        layout = _layout_of(value, vote)
        if layout is None or len(value) > LONGEST or self.is_full:
            return False
        filled = bytearray(value)
        for field, filler in zip(layout, _FILLERS, strict=True):
            filled[field.start : field.stop] = filler * (field.stop - field.start)
        for dash in _DASHES:
            filled[layout.vote_id.start + dash] = ord("-")
        again = decode(bytes(filled))
        if not isinstance(again, Vote) or kind_of(again) != kind_of(vote) or _layout_of(bytes(filled), again) != layout:
            return False
        number = self._number_of(len(value), layout)
        if number is None:
            return False
        model = len(self.kinds)
        if model == len(self.words):
            self.words = np.concatenate([self.words, np.zeros((max(16, model), MOST_WORDS), np.uint64)])
        self.layout_of[model] = number
        if not _enter(_words_of(value), model, number, *self._tables()):
            return False  # it was there
        self.kinds.append(kind_of(vote))
        self.is_full |= len(self.kinds) == MOST_MODELS
        self.widest = max(self.widest, layout.voter_id.stop - layout.voter_id.start)
        return True

    def read(
        self,
        values: Strings,
        places: Places,
        model_of: NDArray[np.int64],
        vote_ids: NDArray[np.uint8],
        voter_ids: NDArray[np.bytes_],
        cast_at: NDArray[np.int64],
    ) -> None:
        """Read those of some values that are like a model; note each one's model, and its fields, at its place."""
        _read_alike(
            np.frombuffer(values.buffer, np.uint8),
            _words_of(values.buffer),
            values.starts,
            values.lengths,
            places,
            self.first_layout,
            *self._tables(),
            _IS_NOT_OF_VOTER,  # given, and not a part of the compiled loop: the cache would not notice that it is another now
            model_of,
            vote_ids,
            bytes_of(voter_ids),
            cast_at,
        )

    def _tables(self) -> tuple[Any, Any, Any, Any, Any, Any, Any]:
        """Give what loops look at."""
        return self.layouts, self.places, self.masks, self.words, self.layout_of, self.slots, _KEYS

    def _number_of(self, length: int, layout: Layout) -> int | None:
        """Give the number of a layout of values of so many bytes; None: there are too many."""
        number = self._layouts.get((length, layout))
        if number is not None:
            return number
        if len(self._layouts) == MOST_LAYOUTS or sum(each == length for each, _ in self._layouts) == MOST_OF_LENGTH:
            self.is_full = True
            return None
        places, masks = _beside(length, layout)
        begins = [field.start for field in layout]
        sizes = [field.stop - field.start for field in layout[1:]]
        self.layouts = np.vstack([self.layouts, [*begins, *sizes, len(places), self.first_layout[length]]])
        self.places = np.vstack([self.places, np.pad(places, (0, MOST_WORDS - len(places)))])
        self.masks = np.vstack([self.masks, np.pad(masks, (0, MOST_WORDS - len(masks)))])
        # Only now, when what it names is there: loops do not look.
        number = self._layouts[length, layout] = self.first_layout[length] = len(self._layouts)
        return number


def _beside(length: int, layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Give the places of words that together have all of a value but its fields, and what of each word to look at."""
    is_beside = np.full(length, 0xFF, np.uint8)
    for field in layout:
        is_beside[field.start : field.stop] = 0
    places = np.array([*range(0, length - WORD, WORD), length - WORD])  # the last one goes over the one before
    masks = np.array([is_beside[place : place + WORD] for place in places]).view(np.uint64).ravel()
    return places[masks != 0], masks[masks != 0]


def _words_of(buffer: bytes) -> NDArray[np.uint64]:
    """Look at a buffer as words, one from each of its bytes on."""
    return np.ndarray((max(0, len(buffer) - WORD + 1),), np.uint64, buffer, strides=(1,))


_models = Models()


def models_at_hand() -> Models:
    """Give the models of this process."""
    global _models  # noqa: PLW0603  # a cache
    if _models.is_full:
        _models = Models()
    return _models


def _layout_of(value: bytes, vote: Vote) -> Layout | None:
    """Find where a vote's fields stand. None: they are not to be found, or not to be told."""
    if b"\\" in value or vote.cast_at > MOST_INSTANT:
        return None
    fields = (
        _find(value, b'"vote_id"', vote.vote_id.encode()),
        _find(value, b'"voter_id"', vote.voter_id.encode()),
        _find(value, b'"cast_at"', b"%d" % vote.cast_at),
    )
    return None if None in fields else Layout(*fields)  # type: ignore[arg-type]


def _find(value: bytes, key: bytes, text: bytes) -> Field | None:
    """Find the text of a field that a vote without backslashes has."""
    start = value.find(text, value.find(key))
    if start < 0 or value.count(key) != 1:  # it stands twice, or also in a part that is skipped
        return None
    return Field(start, start + len(text))


@part
def _slot_of(
    words: Any,
    begin: int,
    number: int,
    seen: Any,
    layouts: Any,
    places: Any,
    masks: Any,
    models: Any,
    layout_of: Any,
    slots: Any,
    keys: Any,
) -> Any:
    """Give where the model that a value of this layout is like stands, or else would; note the words that were seen.

    Its hash is the sum of words multiplied by keys, so that nobody can choose votes that have one. A key's multiple keeps a
    word's low zeros, so its high bits are brought down first: else two words that differ in these alone could be chosen so
    that their differences make up for each other under any keys.
    """
    size = layouts[number, _WORDS]
    total = np.uint64(0)
    for word in range(size):
        beside = words[begin + places[number, word]] & masks[number, word]
        seen[word] = beside
        total += (beside ^ beside >> _HALF) * keys[word]
    slot = np.int64((total >> _HALF) & np.uint64(len(slots) - 1))
    while slots[slot] >= 0:
        model = slots[slot]
        if layout_of[model] == number:
            difference = np.uint64(0)
            for word in range(size):
                difference |= seen[word] ^ models[model, word]
            if not difference:
                break
        slot = (slot + 1) & (len(slots) - 1)
    return slot


_TABLES = (NUMBER_TABLE, NUMBER_TABLE, WORD_TABLE, WORD_TABLE, NUMBERS, NUMBERS, READ_WORDS)


@loop(FLAG, OVERLAPPING_WORDS, INT, INT, *_TABLES)
def _enter(
    words: Any,
    model: int,
    number: int,
    layouts: Any,
    places: Any,
    masks: Any,
    models: Any,
    layout_of: Any,
    slots: Any,
    keys: Any,
) -> bool:
    """Enter a model into the tables. False: there is one like it."""
    seen = models[model]
    slot = _slot_of(words, 0, number, seen, layouts, places, masks, models, layout_of, slots, keys)
    if slots[slot] >= 0:
        return False
    slots[slot] = model
    return True


@part
def _read_fields(
    text: Any, begin: int, number: int, layouts: Any, is_not_of_voter: Any, index: int, vote_ids: Any, voter_ids: Any
) -> Any:
    """Read the fields of a vote of this layout; give its instant. -1: they have other characters than such fields."""
    wrong, start = np.uint8(0), begin + layouts[number, _VOTE_ID]
    for dash in _DASHES:
        wrong |= text[start + dash] ^ _DASH
    for byte in range(vote_ids.shape[1]):
        at = start + 2 * byte + (byte >= 4) + (byte >= 6) + (byte >= 8) + (byte >= 10)  # as many dashes are before it
        high, low = _DIGITS[text[at]], _DIGITS[text[at + 1]]
        wrong |= (high | low) & _NO_DIGIT
        vote_ids[index, byte] = high << _NIBBLE | low
    start, size = begin + layouts[number, _CAST_AT], layouts[number, _CAST_AT_SIZE]
    wrong |= np.uint8(size > 1 and text[start] == _ZERO)
    instant = np.int64(0)
    for place in range(size):
        digit = np.int64(text[start + place]) - _ZERO
        wrong |= np.uint8(digit < 0) | np.uint8(digit > 9)
        instant = 10 * instant + digit
    start, size = begin + layouts[number, _VOTER_ID], layouts[number, _VOTER_SIZE]
    for place in range(size):
        wrong |= is_not_of_voter[text[start + place]]
    if not wrong:
        for place in range(size):
            voter_ids[index, place] = text[start + place]
    return -1 if wrong else instant


@loop(
    NOTHING,
    READ_BYTES,
    OVERLAPPING_WORDS,
    READ_NUMBERS,
    READ_NUMBERS,
    READ_NUMBERS,
    NUMBERS,
    *_TABLES,
    BYTES,
    NUMBERS,
    TABLE,
    TABLE,
    NUMBERS,
)
def _read_alike(
    text: Any,
    words: Any,
    starts: Any,
    lengths: Any,
    to_read: Any,
    first_layout: Any,
    layouts: Any,
    places: Any,
    masks: Any,
    models: Any,
    layout_of: Any,
    slots: Any,
    keys: Any,
    is_not_of_voter: Any,
    model_of: Any,
    vote_ids: Any,
    voter_ids: Any,
    cast_at: Any,
) -> None:
    """Read the values that are like a model, of some; note the model of each."""
    seen = np.empty(MOST_WORDS, np.uint64)
    for index in to_read:
        number = first_layout[lengths[index]] if 0 < lengths[index] <= LONGEST else -1
        while number >= 0:
            slot = _slot_of(words, starts[index], number, seen, layouts, places, masks, models, layout_of, slots, keys)
            if slots[slot] >= 0:
                instant = _read_fields(
                    text, starts[index], number, layouts, is_not_of_voter, index, vote_ids, voter_ids
                )
                if instant >= 0:
                    model_of[index], cast_at[index] = slots[slot], instant
                break
            number = layouts[number, _NEXT]
