"""The log that benchmarks count: votes of a crowd, each by anybody of it, and what an exact count must say of them.

Unlike the voters of a show (``pipeline.show``), one cohort after the other, this crowd votes all at once: two votes of a
voter may lie far apart, as they do on the night. That is the harder case for whatever remembers voters. The oracle counts while
it makes the log, by the rules themselves, and remembers every vote for it.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.clock import now_ms
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.domain.record import Option, PollOpened
from pipeline.log.publisher import Publisher
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.show.expectation import MARKER, Expectation

BLOCK = 4_000  # records with the same `cast_at`
UNACKNOWLEDGED = 16  # blocks
REPEATABLE = 50_000  # the latest votes, any of which may be sent again

Record = tuple[bytes, bytes]


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Who votes for what."""

    records: int
    voters: int
    votes_per_voter: int = 10
    repeats: float = 0.05  # of the records, those that are an earlier vote again, byte for byte
    options: int = 5
    polls: int = 1  # open at once
    seed: int = 1

    def poll_ids(self) -> list[PollId]:
        """Name the polls."""
        return [PollId("bench", "poll" if number == 0 else f"poll-{number}") for number in range(self.polls)]

    def markers(self, opened_at: int) -> list[PollOpened]:
        """Give the markers that open the polls."""
        options = tuple(Option(name) for name in self.option_ids())
        return [PollOpened(*poll, opened_at, options, self.votes_per_voter) for poll in self.poll_ids()]

    def option_ids(self) -> list[str]:
        """Name the options."""
        return [f"option-{number}" for number in range(self.options)]


@dataclass
class Oracle:
    """Counts what is sent, one vote after the other."""

    votes_per_voter: int
    expected: Expectation
    ids: set[int] = field(default_factory=set)
    votes_of: Counter[int] = field(default_factory=Counter)

    def count(self, vote_id: int, voter: int, cell: tuple[int, str]) -> None:
        """Apply rules 8 to 10."""
        outcome = Outcome.COUNTED
        if vote_id in self.ids:
            outcome = Outcome.DUPLICATE
        elif self.votes_of[voter] >= self.votes_per_voter:
            outcome = Outcome.OVER_LIMIT
        else:
            self.votes_of[voter] += 1
            self.expected.cells[cell] += 1
        self.ids.add(vote_id)
        self.expected.outcomes[outcome] += 1
        self.expected.poll_outcomes[outcome] += 1


def blocks(crowd: Crowd, oracles: list[Oracle]) -> Iterator[list[Record]]:
    """Make the votes, block by block, each at the time at which it is asked for."""
    rng = random.Random(crowd.seed)
    polls, options = crowd.poll_ids(), crowd.option_ids()
    latest: list[tuple[int, int, int, tuple[int, str], Record]] = []
    for first in range(0, crowd.records, BLOCK):
        cast_at = now_ms()
        second, block = cast_at - cast_at % 1000, []
        for number in range(first, min(first + BLOCK, crowd.records)):
            if latest and rng.random() < crowd.repeats:
                which, vote_id, voter, cell, record = latest[int(rng.random() * len(latest))]
            else:
                which, vote_id = int(rng.random() * crowd.polls), rng.getrandbits(128)
                voter, cell = (
                    int(rng.random() * crowd.voters),
                    (second, options[int(rng.random() ** 2 * crowd.options)]),
                )
                record = _record(polls[which], vote_id, voter, cell[1], cast_at)
                vote = (which, vote_id, voter, cell, record)
                if len(latest) < REPEATABLE:
                    latest.append(vote)
                else:
                    latest[number % REPEATABLE] = vote
            oracles[which].count(vote_id, voter, cell)
            block.append(record)
        yield block


def _record(poll: PollId, vote_id: int, voter: int, option: str, cast_at: int) -> Record:
    text, key = f"{vote_id:032x}", f"{voter * 0x9E3779B97F4A7C15 % (1 << 64):016x}-voter"
    return key.encode(), (
        f'{{"type":"vote","vote_id":"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}","show_id":"{poll.show_id}",'
        f'"poll_id":"{poll.poll_id}","option_id":"{option}","voter_id":"{key}","cast_at":{cast_at},'
        f'"edge_id":"edge-1","channel":"app"}}'
    ).encode()


async def fill(found: Settings, crowd: Crowd) -> list[Expectation]:
    """Make the topic, open the polls and publish the votes; give what is expected of each poll.

    The outcomes of all records, markers included, are those of all expectations together.
    """
    opened_at = now_ms()
    oracles = [Oracle(crowd.votes_per_voter, Expectation(*poll)) for poll in crowd.poll_ids()]
    async with open_topics(found) as topics:
        await topics.create()
    async with Publisher(found) as publisher:
        for oracle, marker in zip(oracles, crowd.markers(opened_at), strict=True):
            oracle.expected.expect(MARKER, len(await publisher.publish_marker(marker)))
        waiting = []
        for block in blocks(crowd, oracles):
            waiting.append(await publisher.enqueue_many(block))
            if len(waiting) >= UNACKNOWLEDGED:
                await waiting.pop(0)
        for acknowledged in waiting:
            await acknowledged
    return [oracle.expected for oracle in oracles]
