"""Vote ids and voters as the ledger packs them: ids that resemble each other, buckets that are full, voters of any length."""

import random

import pytest

from pipeline.domain.fold import Cell, Chunk, VoteGroup
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer
from pipeline.domain.poll import PollId, open_poll
from pipeline.domain.record import Option, PollOpened
from pipeline.ledger import command as commands
from pipeline.ledger.command import LONGEST_PACKED_VOTER, pack_voters

from .books import PARTITION, Book, ModelBook

SONG = PollId("finale", "song")
CELLS = [Cell("ada", 1_767_297_600_000), Cell("bo", 1_767_297_601_000)]


def log_of(rng: random.Random, votes_per_voter: int, groups: int, size: int) -> list[Chunk]:
    """Throw chunks whose ids are made of so few bytes that one begins in the middle of two others."""
    voters = ["".join(rng.choices("AB-_", k=rng.choice([1, 2, 3, 21, 22, 22, 22, 23, 64]))) for _ in range(40)]
    voters += ["A" * length for length in range(1, 65)]  # told apart by their length alone
    poll, chunks, offset = open_poll(PollOpened(*SONG, 0, (Option("ada"), Option("bo")), votes_per_voter)), [], 0
    for number in range(groups):
        group = VoteGroup(
            SONG,
            epoch := number // 3,
            votes_per_voter,
            b"".join(_vote_id(rng) for _ in range(size)),
            rng.choices(voters, k=size),
            CELLS,
            rng.choices(range(len(CELLS)), k=size),
        )
        forgotten = [(SONG, epoch - 2)] if epoch >= 2 else []
        poll_now = [poll] if not number else []
        chunks.append(Chunk(PARTITION, offset, offset + size, 0, {}, {}, {}, [group], poll_now, forgotten))
        offset += size
    return chunks


def _vote_id(rng: random.Random) -> bytes:
    pattern = bytes(rng.choices(b"\0\1", k=rng.choice([1, 2, 7])))
    start = rng.randrange(len(pattern))
    return ((pattern * 16)[start : start + 14]) + rng.choice([b"\0\0", b"\0\1", b"\n%"])


@pytest.mark.parametrize("full_bytes", [0, 60, commands.FULL_BUCKET_BYTES])
@pytest.mark.parametrize("votes_per_voter", [1, 3, 300])
async def test_what_is_packed_counts_as_what_is_not(
    book: Book, monkeypatch: pytest.MonkeyPatch, full_bytes: int, votes_per_voter: int
) -> None:
    monkeypatch.setattr(commands, "FULL_BUCKET_BYTES", full_bytes)
    model = ModelBook()
    for chunk in log_of(random.Random(full_bytes + votes_per_voter), votes_per_voter, groups=12, size=150):
        assert await book.apply(chunk) == await model.apply(chunk) == (Answer.APPLIED, chunk.next_offset)
        assert await book.reading(SONG) == await model.reading(SONG)
        assert await book.remembered(SONG) == await model.remembered(SONG)
    counted = sum((await book.reading(SONG)).totals.values())
    assert 0 < counted < 12 * 150


@pytest.mark.parametrize("book", [pytest.param("redis", marks=pytest.mark.real)], indirect=True)
async def test_a_voter_may_have_as_many_votes_as_rules_can_give(book: Book) -> None:
    poll = open_poll(PollOpened(*SONG, 0, (Option("ada"),), 70_000))
    for number in range(70):
        ids = b"".join((1000 * number + index).to_bytes(16) for index in range(1000))
        group = VoteGroup(SONG, 0, 70_000, ids, ["ann"] * 1000, [CELLS[0]], [0] * 1000)
        await book.apply(Chunk(PARTITION, 1000 * number, 1000 * number + 1000, 0, {}, {}, {}, [group], [poll], []))
    assert (await book.reading(SONG)).totals == {"ada": 70_000}
    more = VoteGroup(SONG, 0, 70_000, b"\xff" * 16, ["ann"], [CELLS[0]], [0])
    await book.apply(Chunk(PARTITION, 70_000, 70_001, 0, {}, {}, {}, [more], [], []))
    reading = await book.reading(SONG)
    assert reading.totals == {"ada": 70_000}
    assert reading.outcomes[Outcome.OVER_LIMIT] == 1


def test_no_two_voters_are_packed_alike() -> None:
    voters = [first + "A" * length for length in range(LONGEST_PACKED_VOTER) for first in "AB-_"]
    packed = pack_voters(voters)
    pieces = [packed[start : start + 18] for start in range(0, len(packed), 18)]
    assert len(set(pieces)) == len(voters)
    assert b"".join(pack_voters([voter]) for voter in voters) == packed, "alone as in company"
    assert {piece[0] for piece in pieces} == {0}, "the script leaves the first byte out"


def test_a_voter_that_is_too_long_leaves_a_gap() -> None:
    assert pack_voters(["A" * 23, "A" * 64]) == bytes(36)
