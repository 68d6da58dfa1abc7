"""A short log in which every rule decides something by a hair: a vote, a millisecond, a byte."""

import json
from typing import Any

from pipeline.domain.batch import RecordBatch
from pipeline.domain.record import MAX_BRACKETS, MAX_VALUE_BYTES

T = 1_767_297_600_000  # a multiple of all horizons and windows
CLOSED_AT = T + 200_000

Entry = tuple[int, bytes | None, bytes | None]  # append time, key, value


def edge_batches() -> list[RecordBatch]:
    """Make a partition for each set of rules."""
    logs = [_a_life(), _a_horizon(), _too_early(), _at_the_limits()]
    batches = []
    for partition, log in enumerate(logs):
        times, keys, values = zip(*log, strict=True)
        batches.append(RecordBatch.of("votes", partition, 0, times, keys, values, [()] * len(log)))
    return batches


def _a_life() -> list[Entry]:
    """Hold a poll from its opening to its end, with markers that are ignored. Two votes each."""
    return [
        (T, None, b"junk"),
        _marker(T, "poll.closed", closed_at=T + 1),  # before the opening
        _void(T, "early", channels=["app"]),
        _opened(votes_per_voter=2),
        _vote(T, 1, "ann"),  # right behind the marker, and cast in the very moment
        _marker(T, "poll.closed", closed_at=T - 1),  # closed before it was opened
        _marker(T, "poll.final"),  # but not closed
        _vote(T + 1_500, 2, "bob", key="ann"),
        _vote(T + 1_500, 3, "bob", option_id="nobody"),
        _vote(T + 1_500, 1, "ann"),  # again
        _vote(T + 1_500, 4, "ann"),  # the second that counts, in the second that begins at T + 1000
        _vote(T + 1_500, 5, "ann"),  # one too many
        _vote(T + 100_000, 6, "bob", cast_at=T + 40_000),  # as late, and as early, as is plausible
        _vote(T + 100_000, 7, "bob", cast_at=T + 105_000),
        _vote(T + 100_000, 8, "cy", cast_at=T + 39_999),
        _vote(T + 100_000, 9, "cy", cast_at=T + 105_001),
        _marker(CLOSED_AT - 2_000, "poll.closed", closed_at=CLOSED_AT),
        _vote(CLOSED_AT, 10, "dan", cast_at=CLOSED_AT - 1),
        _vote(CLOSED_AT, 11, "dan", cast_at=CLOSED_AT),
        _marker(CLOSED_AT + 5_000, "poll.final"),
        _vote(CLOSED_AT + 5_000, 12, "dan", cast_at=CLOSED_AT - 2),
        _marker(CLOSED_AT + 6_000, "votes.reinstated", void_id="edge", reason="not yet decided", author="Ada"),
        _void(CLOSED_AT + 6_000, "edge", edge_ids=["edge-2", "edge-1"], reason="r" * 500),  # strikes all that counted
        _void(CLOSED_AT + 6_000, "edge", channels=["none"]),  # decided already
        _void(
            CLOSED_AT + 6_000, "from", cast_from=T + 1_500, cast_before=CLOSED_AT - 1
        ),  # all but the first and the last
        _void(CLOSED_AT + 6_000, "until", cast_before=CLOSED_AT),
        _void(CLOSED_AT + 6_000, "voters", voters_from="ann", voters_to="bob", voter_ids=["ann", "dan"]),  # ann's
        _void(CLOSED_AT + 6_000, "above", voters_from="bob"),
        _void(CLOSED_AT + 6_000, "others", channels=["sms"]),
        _marker(CLOSED_AT + 6_000, "votes.reinstated", void_id="edge", reason="a mistake", author="Ada"),
        _marker(CLOSED_AT + 6_000, "votes.reinstated", void_id="edge", reason="again", author="Bo"),
        _void(CLOSED_AT + 6_000, "wordy", channels=["app"], reason="r" * 501),  # malformed
    ]


def _a_horizon() -> list[Entry]:
    """Forget votes after a second or two of a clock that never runs backwards."""
    return [
        _opened(votes_per_voter=9, dedupe_horizon_ms=1_000),
        _vote(T, 1, "ann"),
        _vote(T + 1_999, 1, "ann"),  # the next epoch: remembered
        _vote(T + 2_000, 2, "ann"),
        (T + 4_000, None, b"junk"),
        _vote(T + 2_500, 2, "ann"),  # two epochs on by the partition's clock, whatever the broker's says now
    ]


def _too_early() -> list[Entry]:
    return [_vote(T, 1, "ann"), _opened(), _vote(T, 1, "ann", cast_at=T - 1), _vote(T, 1, "ann")]


def _at_the_limits() -> list[Entry]:
    """Read values that are just valid, or just not."""
    vote = json.loads(_vote(T, 1, "ann")[2] or b"")
    whole = json.dumps(vote).encode()
    brackets = MAX_BRACKETS - 1
    values = [
        whole.replace(b"{", b'{"voter_id": "eve", ', 1),  # the last one holds
        whole.replace(str(T).encode(), str(T).encode() + b".0"),
        whole[:-1] + b', "deep": ' + b"[" * brackets + b"]" * brackets + b"}",
        whole[:-1] + b', "long": "' + b"x" * (MAX_VALUE_BYTES - len(whole) - 12) + b'"}',
        b"\xef\xbb\xbf" + whole,
        json.dumps({**vote, "cast_at": 2**53}).encode(),
        whole.replace(b"{", b'{"voter_id": "' + b"[" * brackets + b'", ', 1),  # in a text of which nothing is left
        whole.replace(b"{", b'{"voter_id": "' + b"[" * MAX_BRACKETS + b'", ', 1),
    ]
    assert len(values[3]) == MAX_VALUE_BYTES
    options = [{"id": f"o{number}", "label": "x" * (number + 101)} for number in range(100)]
    return [
        _opened(votes_per_voter=99),
        *[(T, b"ann", value) for value in values],
        _opened(poll_id="labels", options=options),
        _vote(T, 2, "ann", poll_id="labels", option_id="o99"),
    ]


def _opened(**fields: Any) -> Entry:
    return _marker(T, "poll.opened", **{"opened_at": T, "options": [{"id": "ada"}, {"id": "bo"}], **fields})


def _marker(append_ms: int, kind: str, **fields: Any) -> Entry:
    # Compact, as most publishers write it.
    text = json.dumps({"type": kind, "show_id": "finale", "poll_id": "song", **fields}, separators=(",", ":"))
    return append_ms, None, text.encode()


def _void(append_ms: int, name: str, **fields: Any) -> Entry:
    return _marker(append_ms, "votes.voided", **{"void_id": name, "reason": "as decided", "author": "Ada", **fields})


def _vote(append_ms: int, number: int, voter: str, *, key: str | None = None, **fields: Any) -> Entry:
    vote: dict[str, Any] = {
        "type": "vote",
        "vote_id": f"00000000-0000-4000-8000-{number:012}",
        "show_id": "finale",
        "poll_id": "song",
        "option_id": "ada",
        "voter_id": voter,
        "cast_at": append_ms,
        "edge_id": "edge-1",
        "channel": "app",
    }
    return append_ms, (key or voter).encode(), json.dumps(vote | fields).encode()
