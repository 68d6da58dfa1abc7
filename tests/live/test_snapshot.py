"""Numbers, shares, when to hold them: without any server."""

from dataclasses import replace

import msgspec
import pytest

from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId, open_poll
from pipeline.domain.record import Option, PollOpened
from pipeline.domain.result import PartitionReading, Result, merge
from pipeline.live.keys import fields, live_key, parse_live_key
from pipeline.live.snapshot import (
    Instants,
    ShownStatus,
    Snapshot,
    decode,
    encode_tail,
    hold,
    is_behind,
    says_the_same,
    share,
    snapshot,
    with_version,
)

RULES = PollOpened("finale", "song", 10_500, (Option("ada", "Ada", "#112233"), Option("bo")))
POLL_ID = PollId("finale", "song")
INSTANTS = Instants(as_of=20_100, complete_to=17_000, second=19_000, lag=3)


def result(*votes: int) -> Result:
    """One partition per number of votes for ada; bo has one vote in the first."""
    merged = merge(
        POLL_ID,
        [
            PartitionReading(
                partition,
                10 + number,
                20_000,
                open_poll(RULES),
                {"ada": number, **({"bo": 1} if partition == 0 else {})},
                {Outcome.COUNTED: number, Outcome.LATE: 1},
                {Cell("ada", 19_000): number},
            )
            for partition, number in enumerate(votes)
        ],
    )
    assert merged is not None
    return merged


def shown(*votes: int) -> Snapshot:
    return snapshot(result(*votes), INSTANTS, "votes")


def test_a_snapshot_is_the_sum_of_its_partitions() -> None:
    found = shown(5, 2)
    assert (found.total, found.rate, found.next_offsets, found.status) == (8, 7, (15, 12), ShownStatus.OPEN)
    assert [(option.id, option.votes, option.share, option.last) for option in found.options] == [
        ("ada", 7, 87.5, 7),
        ("bo", 1, 12.5, 0),
    ]
    assert found.outcomes == {"late": 2, "counted": 7}
    assert (found.complete_to, found.second, found.as_of, found.lag) == (17_000, 19_000, 20_100, 3)


@pytest.mark.parametrize(
    ("votes", "total", "expected"),
    [(0, 0, 0.0), (1, 1, 100.0), (1, 3, 33.3), (2, 3, 66.7), (1, 2000, 0.1), (1, 2001, 0.0), (999_999, 10**6, 100.0)],
)
def test_shares_are_rounded_each_by_itself(votes: int, total: int, expected: float) -> None:
    assert share(votes, total) == expected


def test_behind_means_behind_in_any_partition() -> None:
    found = shown(5, 2)
    assert not is_behind((15, 12), found)
    assert not is_behind((16, 12), found)
    assert is_behind((14, 900), found)  # the sum would not notice


def test_held_numbers_are_the_same_numbers() -> None:
    found = shown(5, 2)
    held = hold(found, lag=900)
    assert (held.status, held.phase, held.lag) == (ShownStatus.RECOUNTING, found.phase, 900)
    assert replace_status(held, found) == found
    assert not says_the_same(held, found)


def replace_status(held: Snapshot, found: Snapshot) -> Snapshot:
    return msgspec.structs.replace(held, status=found.status, lag=found.lag)


def test_what_a_viewer_cannot_see_is_no_news() -> None:
    found = shown(5, 2)
    later = msgspec.structs.replace(found, version=9, as_of=20_900, next_offsets=(30, 30))
    assert says_the_same(found, later)
    assert not says_the_same(found, shown(5, 3))


def test_the_json_is_complete_with_its_version() -> None:
    found = shown(5, 2)
    encoded = with_version(encode_tail(found), 42)
    assert encoded.startswith(b'{"version":42,"show_id":"finale"')
    assert decode(encoded) == msgspec.structs.replace(found, version=42)


def test_a_final_result_lags_nowhere() -> None:
    final = replace(result(1), status=type(result(1).status).FINAL)
    assert snapshot(final, INSTANTS, "votes").lag == 0


def test_the_flat_fields_say_what_the_json_says() -> None:
    flat = fields(shown(5, 2))
    told = dict(zip(flat[::2], flat[1::2], strict=True))
    assert told["total"] == 8
    assert told["closed_at"] == ""
    assert (told["total:ada"], told["share:ada"], told["label:bo"]) == (7, "87.5", "bo")
    assert (told["next_offsets"], told["outcome:late"]) == ("15 12", 2)


def test_keys_name_polls_and_nothing_else() -> None:
    assert live_key(POLL_ID) == "live:finale:song"
    assert parse_live_key("live:finale:song") == POLL_ID
    assert [parse_live_key(key) for key in ("live:finale", "live:a:b:c", "live:A:b", "other:a:b")] == [None] * 4
