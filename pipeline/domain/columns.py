"""The values of a batch: its votes in columns, all else one by one.

Most votes are like a model (``models``), and are read by a loop; the rest are decoded, and some of them are the next models.
"""

from binascii import unhexlify
from collections import defaultdict
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.models import Models, models_at_hand
from pipeline.domain.record import VOTE_ID_BYTES, Kind, Marker, Vote, decode, kind_of
from pipeline.domain.rows import Places, Rows, counted, rows_of
from pipeline.domain.strings import Strings

LEAST_PER_MODEL = 3  # values that are like one: else it was not worth its making
MOST_UNLIKE = 64  # values decoded in vain for their likes; then all that are left are decoded one by one


class Columns(NamedTuple):
    """The values of a batch. Columns are as long as the batch, and mean nothing where there is no vote."""

    vote_ids: Rows  # 16 bytes each
    voter_ids: NDArray[np.bytes_]
    cast_at: NDArray[np.int64]  # ms since the epoch
    kind_of: NDArray[np.int64]  # index of the vote's kind; -1: no vote
    kinds: list[Kind]
    others: dict[int, Marker | None]  # what is no vote, by its place, in order; None: malformed


def read_columns(values: Strings) -> Columns:
    """Decode the values of a batch."""
    reading = _Reading(values, models_at_hand())
    reading.read()
    return reading.columns()


class _Reading:
    """The working memory of it."""

    def __init__(self, values: Strings, models: Models) -> None:
        size = len(values)
        self.values, self.models = values, models
        self.model_of = np.full(size, -1)
        self.vote_ids = np.zeros((size, VOTE_ID_BYTES), np.uint8)
        self.voter_ids = np.zeros(size, f"S{models.widest}")
        self.cast_at = np.zeros(size, np.int64)
        self.singles: list[tuple[int, Vote]] = []
        self.others: dict[int, Marker | None] = {}

    def read(self) -> None:
        """Decode some of those that are like no model, and see which of the rest are like these; of ever more at a time."""
        unlike = self.alike(np.arange(len(self.values)))
        some, in_vain = 1, 0
        while len(unlike) and in_vain < MOST_UNLIKE:
            head, rest = unlike[:some], unlike[some:]
            learned = sum(self.models.learn(*vote) for vote in self.one_by_one(head))
            unlike = self.alike(rest) if learned else rest
            if len(rest) - len(unlike) < LEAST_PER_MODEL * len(head):
                in_vain += len(head)
            some *= 2
        self.one_by_one(unlike)

    def alike(self, places: Places) -> Places:
        """Read what is like a model; give the places of the rest."""
        models = self.models
        if self.voter_ids.dtype.itemsize < models.widest:
            self.voter_ids = self.voter_ids.astype(f"S{models.widest}")
        models.read(self.values, places, self.model_of, self.vote_ids, self.voter_ids, self.cast_at)
        return places[self.model_of.take(places) < 0]

    def one_by_one(self, places: Places) -> list[tuple[bytes, Vote]]:
        """Decode values by themselves; give the votes, each with its value."""
        votes = []
        for place in places.tolist():
            value = self.values[place] or b""
            record = decode(value)
            if isinstance(record, Vote):
                self.singles.append((place, record))
                votes.append((value, record))
            else:
                self.others[place] = record
        return votes

    def columns(self) -> Columns:
        """Put all together."""
        kinds: defaultdict[tuple[str, ...], int] = defaultdict(count().__next__)
        number_of = np.full(len(self.models.kinds) + 1, -1)  # the last one: of what is like no model
        for model in counted(self.model_of[self.model_of >= 0])[0].tolist():
            number_of[model] = kinds[self.models.kinds[model]]
        kind_of_each = number_of.take(self.model_of)
        voter_ids = self.voter_ids
        if self.singles:
            places, votes = zip(*self.singles, strict=True)
            at = np.array(places)
            names = np.array([vote.voter_id for vote in votes], np.bytes_)
            voter_ids = voter_ids.astype(max(voter_ids.dtype, names.dtype))
            voter_ids[at] = names
            ids = unhexlify("".join([vote.vote_id for vote in votes]).replace("-", ""))
            self.vote_ids[at] = np.frombuffer(ids, np.uint8).reshape(-1, VOTE_ID_BYTES)
            self.cast_at[at] = [vote.cast_at for vote in votes]
            kind_of_each[at] = [kinds[kind_of(vote)] for vote in votes]
        return Columns(
            rows_of(self.vote_ids.reshape(-1), VOTE_ID_BYTES),
            voter_ids,
            self.cast_at,
            kind_of_each,
            [Kind(*kind) for kind in kinds],
            dict(sorted(self.others.items())),
        )
