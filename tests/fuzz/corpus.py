"""What is mutated: votes as they come in a show, markers, every named example, and the broken records of other tests."""

import json
from collections.abc import Iterator
from itertools import cycle
from random import Random

from pipeline.domain.record import Option, PollOpened
from tests.archive.broken_records import throw_value
from tests.schemas.publisher import EXAMPLES, TYPES

from .mutation import mutated

KeyValue = tuple[bytes | None, bytes | None]

POLLS = [f"poll-{number}" for number in range(40)]  # a mutated marker may end one, and the others go on
MAX_EXAMPLE_BYTES = 4096  # the largest ones would be most of the log, and come with ``throw_value``
OPTIONS = ("ada", "bo", "7")


def openings(now_ms: int) -> list[PollOpened]:
    """Open all polls, a minute ago, with four sets of rules."""
    options = tuple(map(Option, OPTIONS))
    rules: list[tuple[int, int | None]] = [(1, None), (1, None), (3, None), (99, 1000)]
    return [
        PollOpened("finale", poll, now_ms - 60_000, options, votes_per_voter=votes, dedupe_horizon_ms=horizon)
        for poll, (votes, horizon) in zip(POLLS, cycle(rules), strict=False)
    ]


class Corpus:
    """Records without end, from a seed; `now_ms` is the broker's time, near which a vote must be cast."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        examples = [path.read_bytes() for kind in TYPES for path in sorted((EXAMPLES / kind).glob("*/*"))]
        self._examples = [value for value in examples if len(value) <= MAX_EXAMPLE_BYTES]

    def records(self, number: int, now_ms: int) -> Iterator[KeyValue]:
        """Make some records: half of them as they should be, half mutated."""
        random = self._random
        for _ in range(number):
            voter = f"voter-{random.randrange(3000)}"
            key = voter.encode()
            die = random.random()
            if die < 0.5:
                yield key, self._vote(voter, now_ms)
            elif die < 0.8:
                yield key, mutated(random, self._vote(voter, now_ms), self._examples)
            elif die < 0.95:
                yield random.choice((key, key, None, b"", b"\xff\x00")), self._other(now_ms)
            else:
                yield key, throw_value(random) if die < 0.96 else random.randbytes(random.randrange(200))

    def _other(self, now_ms: int) -> bytes:
        random = self._random
        kind = random.choice(("poll.opened", "poll.closed", "poll.final", "example", "example", "example"))
        if kind == "example":
            value = random.choice(self._examples)
        else:
            value = _json(
                {"type": kind, "poll_id": random.choice(POLLS), "opened_at": now_ms, "closed_at": now_ms + 90_000}
            )
        return mutated(random, value, self._examples)

    def _vote(self, voter: str, now_ms: int) -> bytes:
        random = self._random
        vote = {
            "type": "vote",
            "vote_id": f"{random.randrange(4):08x}-0000-4000-8000-{int(voter[6:]):012}",
            "poll_id": random.choice(POLLS),
            "option_id": random.choice(OPTIONS),
            "voter_id": voter,
            "cast_at": now_ms + random.choice((0, 0, 0, 0, -500, -30_000, -59_000, -61_000, 4_000, 9_000)),
            "edge_id": "edge-1",
            "channel": "app",
        }
        return _json(vote)


def _json(fields: dict[str, object]) -> bytes:
    return json.dumps({"show_id": "finale"} | fields).encode()
