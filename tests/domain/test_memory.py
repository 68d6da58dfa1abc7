"""Rules 8 to 10 as a batch decides them, against the same vote by vote in sets and dicts; and what is remembered of it."""

from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from pipeline.domain.memory import VOTER_BYTES, Decided, PollMemory, Remembered, pack_voters
from pipeline.domain.record import VOTE_ID_BYTES
from pipeline.domain.rows import rows_of


@dataclass
class Plain:
    """The rules as they are written."""

    votes_per_voter: int
    seen: dict[int, set[bytes]] = field(default_factory=dict)
    votes_of: dict[str, int] = field(default_factory=dict)

    def decide(self, epoch: int, vote_id: bytes, voter_id: str) -> str:
        known = any(vote_id in self.seen.get(each, ()) for each in (epoch - 1, epoch))
        self.seen.setdefault(epoch, set()).add(vote_id)
        if known:
            return "duplicate"
        if self.votes_of.get(voter_id, 0) >= self.votes_per_voter:
            return "over_limit"
        self.votes_of[voter_id] = self.votes_of.get(voter_id, 0) + 1
        return "counted"


def thrown_votes(random: Random, size: int) -> tuple[list[bytes], list[str]]:
    """Throw votes whose ids repeat, of voters whose ids are of all lengths and like each other."""
    voters = ["".join(random.choices("AB-_", k=random.choice([1, 2, 3, 21, 22, 22, 22, 23, 64]))) for _ in range(40)]
    voters += ["A" * length for length in range(1, 65)]  # told apart by their length alone
    space = random.choice([20, 500, 1 << 100])
    return [random.randrange(space).to_bytes(16) for _ in range(size)], random.choices(voters, k=size)


def decide(memory: PollMemory, epoch: int, vote_ids: bytes, voter_ids: list[str]) -> Decided:
    return memory.decide(epoch, rows_of(vote_ids, VOTE_ID_BYTES), np.array(voter_ids, np.bytes_))


def packed(voter_ids: list[str], size: int) -> bytes:
    return pack_voters(np.array(voter_ids, np.bytes_), size).tobytes()


@pytest.mark.parametrize("votes_per_voter", [1, 2, 3, 255, 256, 300])
def test_a_batch_decides_as_vote_by_vote(votes_per_voter: int) -> None:
    for seed in range(25):
        random, memory, plain, kept = Random(seed), PollMemory(votes_per_voter), Plain(votes_per_voter), []
        for epoch in (0, 0, 1, 2, 2, 4):
            memory.forget(epoch - 2)
            ids, voters = thrown_votes(random, random.choice([0, 1, 5, 200]))
            expected = [plain.decide(epoch, *vote) for vote in zip(ids, voters, strict=True)]
            decided = decide(memory, epoch, b"".join(ids), voters)
            assert decided.is_counted.tolist() == [outcome == "counted" for outcome in expected]
            assert decided.counted == expected.count("counted")
            assert decided.duplicate == expected.count("duplicate")
            assert decided.over_limit == expected.count("over_limit")
            kept.append(decided.remembered)
        again = PollMemory(votes_per_voter)
        for remembered in kept:
            again.recall(remembered)
            again.forget(remembered.epoch - 2)
        assert again == memory
        assert len(memory) == sum(len(plain.seen.get(epoch, ())) for epoch in memory.epochs) + len(plain.votes_of)


def test_however_it_is_cut() -> None:
    ids, voters = thrown_votes(Random(3), 1000)
    whole = decide(PollMemory(3), 0, b"".join(ids), voters)
    for size in (1, 7, 400):
        memory, is_counted = PollMemory(3), []
        for start in range(0, 1000, size):
            piece = decide(memory, 0, b"".join(ids[start : start + size]), voters[start : start + size])
            is_counted += piece.is_counted.tolist()
        assert is_counted == whole.is_counted.tolist()


def test_a_voter_may_have_as_many_votes_as_rules_can_give() -> None:
    memory, again = PollMemory(70_000), PollMemory(70_000)
    for number in range(70):
        ids = b"".join((1000 * number + index).to_bytes(16) for index in range(1000))
        decided = decide(memory, 0, ids, ["ann"] * 1000)
        assert decided.counted == 1000
        again.recall(decided.remembered)
    assert again == memory
    assert decide(memory, 0, b"\xff" * 16, ["ann"]).over_limit == 1


def test_of_a_voters_numbers_the_last_one_holds() -> None:
    memory, ann, long = PollMemory(200), packed(["ann"], 17), packed(["x" * 30], 32)
    memory.recall(Remembered(voters={17: ann + b"\x01" + ann + b"\x05" + ann + b"\xc7", 32: long + b"\x07"}))
    memory.recall(Remembered(voters={32: long + b"\xc7"}))
    decided = decide(memory, 0, bytes(range(64)), ["ann", "ann", "x" * 30, "x" * 30])
    assert decided.is_counted.tolist() == [True, False, True, False]
    assert decided.remembered.voters == {17: ann + b"\xc8", 32: long + b"\xc8"}
    assert decided.remembered.votes_of == {}


def test_a_poll_of_many_votes_each_remembers_numbers_by_name() -> None:
    memory, again = PollMemory(256), PollMemory(256)
    decided = decide(memory, 0, bytes(range(48)), ["ann", "ann", "bob"])
    assert decided.remembered.voters == {}
    assert decided.remembered.votes_of == {"ann": 2, "bob": 1}
    again.recall(decided.remembered)
    assert again == memory


@pytest.mark.parametrize(("most", "size"), VOTER_BYTES.items())
def test_no_two_voters_are_packed_alike(most: int, size: int) -> None:
    voters = [first + "A" * length for length in range(most) for first in "AB-_"]
    together = packed(voters, size)
    pieces = [together[start : start + size] for start in range(0, len(together), size)]
    assert len(set(pieces)) == len(voters)
    assert [packed([voter], size) for voter in voters] == pieces, "alone as in company"
