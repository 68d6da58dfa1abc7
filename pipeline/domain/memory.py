"""What a partition remembers of a poll's single votes, and what that decides: rules 8 to 10, repeats and limits.

It is a function of the partition's log before the state's next offset, like all of the state. The ledger holds it as what was
*remembered*, chunk by chunk; a worker holds it as a table, made from that when it begins. So a lost worker costs the
time of reading it, and a worker that is behind or ahead of the ledger throws its own away and reads again.
"""

import string
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.domain.native import COUNTS, FLAGS, INT, NOTHING, NUMBERS, READ_TABLE, TABLE, loop
from pipeline.domain.record import VOTE_ID_BYTES
from pipeline.domain.rows import Flags, Numbers, Places, Rows, RowSet, bytes_of, rows_of

# Voter ids of up to so many characters are packed in so many bytes: 6 bits for each, and a 1 before them.
VOTER_BYTES = {22: 17, 42: 32, 64: 49}
_SIZES = np.repeat(list(VOTER_BYTES.values()), np.diff([-1, *VOTER_BYTES]))  # by the number of characters
MOST_LISTED_VOTES = 255  # per voter: the list has an entry for each vote, and with more it would grow and grow

_ALPHABET = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_").encode()  # RFC 4648, table 2
_BITS = np.zeros(256, np.uint8)
_BITS[list(_ALPHABET)] = np.arange(64)

VoterIds = NDArray[np.bytes_]


class Remembered(msgspec.Struct, frozen=True):
    """What a chunk adds to the memory of a poll.

    Voters are in `votes_of` where the poll allows more than ``MOST_LISTED_VOTES`` each, else in `voters`.
    """

    vote_ids: bytes = b""  # 16 bytes each; of `epoch`
    epoch: int = 0
    # By the size of their ids: for each counted vote the voter, and in `count_bytes` how many are counted of that voter by now.
    voters: Mapping[int, bytes] = {}
    votes_of: Mapping[str, int] = {}  # how many are, by voter


class Decided(msgspec.Struct, frozen=True):
    """What rules 8 to 10 make of a run of votes."""

    is_counted: Flags  # of each
    duplicate: int
    over_limit: int
    remembered: Remembered

    @property
    def counted(self) -> int:
        """How many are."""
        return len(self.is_counted) - self.duplicate - self.over_limit


class PollMemory:
    """The vote ids that came, by epoch, and how many votes of each voter are counted."""

    def __init__(self, votes_per_voter: int) -> None:
        self.votes_per_voter = votes_per_voter
        self._count_bytes = count_bytes(votes_per_voter)
        self._number_bytes = self._count_bytes if votes_per_voter <= MOST_LISTED_VOTES else 4
        self._ids: dict[int, RowSet] = {}
        self._voters: dict[int, RowSet] = {}  # by the size of their ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PollMemory) and self.content() == other.content()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __len__(self) -> int:
        """How many vote ids and voters it has."""
        return sum(map(len, self._tables()))

    @property
    def nbytes(self) -> int:
        """The memory that its tables take."""
        return sum(table.nbytes for table in self._tables())

    @property
    def filed_bytes(self) -> int:
        """What they have in files."""
        return sum(table.filed_bytes for table in self._tables())

    def decide(self, epoch: int, vote_ids: Rows, voter_ids: VoterIds) -> Decided:
        """Decide votes that passed rules 1 to 7, in the order of the log, and remember them.

        Args:
            epoch: in which they arrive; not before the epoch of earlier calls.
            vote_ids: 16 bytes for each.
            voter_ids: as many.
        """
        _, is_new = self._ids_of(epoch).add(vote_ids)
        to_remember = vote_ids[is_new].tobytes()
        if epoch - 1 in self._ids:  # seen then: a repeat, and known for one epoch more
            is_new &= ~self._ids[epoch - 1].has(vote_ids)
        new = is_new.nonzero()[0]
        within, voters, votes_of = self._limited(voter_ids[new])
        is_counted = np.zeros(len(vote_ids), np.bool_)
        is_counted[new[within]] = True
        counted = int(within.sum())
        return Decided(
            is_counted,
            len(vote_ids) - len(new),
            len(new) - counted,
            Remembered(to_remember, epoch, voters, votes_of),
        )

    def recall(self, remembered: Remembered) -> None:
        """Take in what was remembered before."""
        if remembered.vote_ids:
            self._ids_of(remembered.epoch).add(rows_of(remembered.vote_ids, VOTE_ID_BYTES))
        for size, packed in remembered.voters.items():
            table = np.frombuffer(packed, np.uint8).reshape(-1, size + self._count_bytes)
            self._set(rows_of(np.ascontiguousarray(table[:, :size]), size), table[:, size:].reshape(-1))
        names = np.array(list(remembered.votes_of), np.bytes_)
        votes = np.array(list(remembered.votes_of.values()), np.uint32)
        for size, places in by_size(names).items():
            self._set(pack_voters(names[places], size), votes[places])

    def forget(self, epoch: int) -> None:
        """Let go of the ids of an epoch."""
        self._ids.pop(epoch, None)

    @property
    def epochs(self) -> set[int]:
        """The epochs of which it has ids."""
        return set(self._ids)

    def content(self) -> object:
        """Give all that it has, in a form that can be compared."""
        ids = {epoch: set(table.rows()[0].tolist()) for epoch, table in self._ids.items() if len(table)}
        voters: dict[object, int] = {}
        for voters_of_size in self._voters.values():
            rows, numbers = voters_of_size.rows()
            voters |= dict(zip(rows.tolist(), numbers.tolist() if self._count_bytes else [1] * len(rows), strict=True))
        return self.votes_per_voter, ids, voters

    def _tables(self) -> list[RowSet]:
        return [*self._ids.values(), *self._voters.values()]

    def _ids_of(self, epoch: int) -> RowSet:
        if epoch not in self._ids:
            self._ids[epoch] = RowSet(VOTE_ID_BYTES)
        return self._ids[epoch]

    def _voters_of(self, size: int) -> RowSet:
        if size not in self._voters:
            self._voters[size] = RowSet(size, number_bytes=self._number_bytes)
        return self._voters[size]

    def _set(self, rows: Rows, votes: NDArray[np.integer[Any]]) -> None:
        """Note how many votes of voters are counted. Of one voter's numbers the last holds."""
        voters = self._voters_of(rows.dtype.itemsize)
        places, _ = voters.add(rows)
        if self._number_bytes:
            voters.put_numbers(places, votes)

    def _limited(self, voter_ids: VoterIds) -> tuple[Flags, dict[int, bytes], dict[str, int]]:
        """Tell of one new vote of each of some voters whether it is within the limit, and what is to be remembered."""
        within = np.zeros(len(voter_ids), np.bool_)
        listed: dict[int, bytes] = {}
        votes_of: dict[str, int] = {}
        for size, places in by_size(voter_ids).items():
            within[places], content = self._limited_of_size(voter_ids[places], size, votes_of)
            if content:
                listed[size] = content
        return within, listed, votes_of

    def _limited_of_size(self, voter_ids: VoterIds, size: int, votes_of: dict[str, int]) -> tuple[Flags, bytes]:
        rows = pack_voters(voter_ids, size)
        voters = self._voters_of(size)
        places, within = voters.add(rows)
        if self.votes_per_voter == 1:
            return within, rows[within].tobytes()
        votes = np.zeros(len(rows), np.uint32)
        within = np.zeros(len(rows), np.bool_)
        for which, numbers, at in voters.numbers_at(places):
            votes[which], within[which] = _use_votes(at, self.votes_per_voter, numbers)
        if self.votes_per_voter > MOST_LISTED_VOTES:
            names = voter_ids[within].astype(np.str_).tolist()
            votes_of.update(zip(names, votes[within].tolist(), strict=True))
            return within, b""
        listed = np.empty((int(within.sum()), size + 1), np.uint8)
        listed[:, :size] = rows[within].view(np.uint8).reshape(-1, size)
        listed[:, size] = votes[within]
        return within, listed.tobytes()


def count_bytes(votes_per_voter: int) -> int:
    """Give the size of a voter's number of votes in a list: none where all have one, and either stand there or do not."""
    return 0 if votes_per_voter == 1 else 1


def by_size(voter_ids: VoterIds) -> dict[int, Places]:
    """Sort voter ids by the size that they are packed in: give the places of those of each."""
    size_of = _SIZES.take(np.strings.str_len(voter_ids))
    return {size: (size_of == size).nonzero()[0] for size in VOTER_BYTES.values() if (size_of == size).any()}


def pack_voters(voter_ids: VoterIds, size: int) -> Rows:
    """Write voter ids in `size` bytes each, one of those in ``VOTER_BYTES`` that their characters fit in.

    They are right-aligned: a 1, and then the 6 bits of each character, in the alphabet of base64url. The 1 tells where an id
    begins, so no two have the same bytes.
    """
    packed = np.empty((len(voter_ids), size), np.uint8)
    _pack(bytes_of(voter_ids), packed)
    return rows_of(packed.reshape(-1), size)


@loop(NOTHING, READ_TABLE, TABLE)
def _pack(voter_ids: Any, packed: Any) -> None:
    """Write from the last character to the first, and zeros before them."""
    for index in range(len(voter_ids)):
        length = voter_ids.shape[1]
        while length and not voter_ids[index, length - 1]:
            length -= 1
        bits, number, at = np.int64(0), 0, length  # those that are not written yet, and how many
        for byte in range(packed.shape[1] - 1, -1, -1):
            while number < 8 and at >= 0:
                at -= 1
                bits |= np.int64(_BITS[voter_ids[index, at]] if at >= 0 else 1) << number
                number += 6
            packed[index, byte] = bits & 255
            bits, number = bits >> 8, number - 8


def _use_votes(places: Places, most: int, numbers: Numbers) -> tuple[NDArray[np.uint32], Flags]:
    """Give each vote its voter's number of votes with it, if that is at most so many."""
    votes, within = np.zeros(len(places), np.uint32), np.zeros(len(places), np.bool_)
    _use_votes_in(places, most, numbers, votes, within)
    return votes, within


@loop(NOTHING, NUMBERS, INT, TABLE, COUNTS, FLAGS)
def _use_votes_in(places: Any, most: int, numbers: Any, votes: Any, within: Any) -> None:
    width = numbers.shape[1]
    for index in range(len(places)):
        place, number = places[index], np.int64(0)
        for byte in range(width):
            number |= np.int64(numbers[place, byte]) << (8 * byte)
        if number < most:
            number += 1
            for byte in range(width):
                numbers[place, byte] = number >> (8 * byte) & 255
            votes[index] = number
            within[index] = True
