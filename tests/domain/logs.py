"""Logs of one partition that bring the rules into collision: few voters, few ids, times at the edges."""

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

from pipeline.domain.batch import RecordBatch

from .reference import Entry

OPENED_AT = 1_767_297_600_000  # a multiple of every horizon below

POLLS = ("song", "song", "song", "semi")
# Steps of the broker's clock: mostly small, some past a horizon or the last plausible moment, some back.
STEPS = (0, 0, 1, 400, 999, 1000, 1001, 4_000, 9_999, 10_000, 30_000, 61_000, -1, -700, -12_000)
# cast_at minus append time: 0 is plausible, the ends of the rule on both sides of each, and nonsense.
AHEAD = (0, 0, 0, -1, -900, -5_000, -59_999, -60_000, -60_001, 4_999, 5_000, 5_001, -OPENED_AT)
# cast_at minus opened_at: the ends of the poll, see `closed_at` below.
SINCE_OPENING = (-1, 0, 1, 59_999, 60_000, 60_001)
JUNK = (None, b"", b"vote for ada", b'{"type":"ballot"}', b'{"type":"vote","poll_id":"song"}')

OPTIONS = ([{"id": "ada"}, {"id": "bo"}], [{"id": "bo"}, {"id": "cy"}])
CLOSED_AT = (OPENED_AT - 1, OPENED_AT, OPENED_AT + 60_000, OPENED_AT + 90_000)
# What the log is made of, as thrown with a die; a poll is opened and closed often, or little else would happen.
KINDS = (
    *("vote",) * 16,
    "junk",
    "poll.opened",
    "poll.closed",
    "poll.closed",
    "poll.final",
    "votes.voided",
    "votes.reinstated",
)


def throw_log(random: Random, size: int) -> list[Entry]:
    """Make a log by chance: an opening marker first, then anything."""
    log, clock = [_marker(random, OPENED_AT, "poll.opened", "song")], OPENED_AT
    for _ in range(size):
        clock += random.choice(STEPS)
        kind = random.choice(KINDS)
        if kind == "vote":
            log.append(_vote(random, clock))
        elif kind == "junk":
            log.append(Entry(clock, b"ann", random.choice(JUNK)))
        else:
            log.append(_marker(random, clock, kind, random.choice(POLLS)))
    return log


def logs(max_size: int = 40) -> st.SearchStrategy[list[Entry]]:
    """The same, with Hypothesis in the place of chance: what fails is made smaller."""
    return st.builds(throw_log, st.randoms(use_true_random=False), st.integers(0, max_size))


def _vote(random: Random, clock: int) -> Entry:
    around_now = max(0, clock + random.choice(AHEAD))
    around_the_ends = OPENED_AT + random.choice(SINCE_OPENING)
    voter = random.choice(["ann", "bob", "cy-whose-id-does-not-fit-into-17-bytes"])
    vote = {
        "type": "vote",
        "vote_id": f"00000000-0000-4000-8000-00000000000{random.choice('0123aA')}",
        "show_id": "finale",
        "poll_id": random.choice(POLLS),
        "option_id": random.choice(["ada", "bo", "bo", "cy"]),
        "voter_id": voter,
        "cast_at": random.choice([around_now, around_now, around_the_ends]),
        "edge_id": random.choice(["edge-1", "edge-1", "edge-2"]),
        "channel": "app",
    }
    key = random.choice([voter] * 12 + ["eve"])
    return Entry(clock, key.encode(), json.dumps(vote).encode())


def _marker(random: Random, clock: int, kind: str, poll: str) -> Entry:
    marker: dict[str, Any] = {"type": kind, "show_id": "finale", "poll_id": poll}
    if kind == "poll.opened":
        marker |= {"opened_at": OPENED_AT + random.choice([0, 0, 5_000]), "options": random.choice(OPTIONS)}
        marker |= random.choice([{}, {"votes_per_voter": 2}, {"votes_per_voter": 300}])
        marker |= random.choice([{}, {"dedupe_horizon_ms": random.choice([None, 1_000, 10_000, 60_000])}])
    elif kind == "poll.closed":
        marker |= {"closed_at": random.choice(CLOSED_AT)}
    elif kind.startswith("votes."):
        marker |= {"void_id": random.choice("vw"), "reason": random.choice(("a", "b")), "author": "Ada"}
        marker |= {"channels": ["app"]} if kind == "votes.voided" else {}
    return Entry(clock, f"finale/{poll}".encode(), json.dumps(marker).encode())


def batch_of(log: list[Entry], first_offset: int = 0) -> RecordBatch:
    """Make a batch of a log, or of the part of it that begins at an offset."""
    return RecordBatch.of(
        topic="votes",
        partition=7,
        first_offset=first_offset,
        append_times=[entry.append_time for entry in log],
        keys=[entry.key for entry in log],
        values=[entry.value for entry in log],
        headers=[()] * len(log),
    )
