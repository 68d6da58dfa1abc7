"""A flush is whole runs of the log, and its token says which."""

from dataclasses import FrozenInstanceError, replace

import pytest

from pipeline.archive.flush import Flush, OffsetRange
from pipeline.domain.batch import RecordBatch
from pipeline.domain.strings import Strings


def batch(partition: int, first_offset: int, records: int, append_ms: int = 1_000) -> RecordBatch:
    times = [append_ms + number for number in range(records)]
    return RecordBatch.of(
        "votes", partition, first_offset, times, [b"ann"] * records, [b"{}"] * records, [()] * records
    )


def test_batches_are_put_in_order_and_runs_of_a_partition_become_one_range() -> None:
    flush = Flush([batch(3, 105, 2, 2_000), batch(1, 7, 1), batch(3, 100, 5)])
    assert [(each.partition, each.first_offset) for each in flush.batches] == [(1, 7), (3, 100), (3, 105)]
    assert flush.ranges == (OffsetRange(1, 7, 8, 1_000, 1_000), OffsetRange(3, 100, 107, 1_000, 2_001))
    assert flush.next_offsets == {1: 8, 3: 107}
    assert (flush.topic, flush.rows, flush.bytes, flush.oldest_append_ms) == ("votes", 8, 8 * 5, 1_000)


def test_size_counts_the_bytes_that_are_there() -> None:
    odd = replace(batch(0, 0, 3), keys=Strings.of([None, b"\xff", b""]), values=Strings.of([b"12345", None, b""]))
    assert Flush([odd]).bytes == 6


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [batch(0, 0, 0)],
        [batch(0, 0, 5), batch(0, 6, 1)],  # a hole
        [batch(0, 0, 5), batch(0, 4, 2)],  # an overlap
        [batch(0, 0, 5), batch(0, 0, 5)],  # the same twice
        [batch(0, 0, 1), replace(batch(1, 0, 1), topic="other")],
    ],
)
def test_what_is_no_run_of_the_log_is_refused(batches: list[RecordBatch]) -> None:
    with pytest.raises(ValueError, match=r"flush|follow"):
        Flush(batches)


def test_the_token_is_the_same_however_the_records_came() -> None:
    whole = batch(0, 10, 6)
    assert Flush([whole, batch(1, 0, 2)]).token == Flush([batch(1, 0, 2), *whole.split(4)]).token


@pytest.mark.parametrize(
    "other",
    [
        [batch(0, 10, 7)],
        [batch(0, 11, 6)],
        [batch(1, 10, 6)],
        [batch(0, 10, 6), batch(1, 0, 1)],
        [batch(0, 10, 6, append_ms=1_001)],  # the topic was made anew: the same offsets are other records
        [replace(batch(0, 10, 6), topic="votes2")],
    ],
)
def test_the_token_differs_for_other_records(other: list[RecordBatch]) -> None:
    assert Flush([batch(0, 10, 6)]).token != Flush(other).token


def test_a_flush_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Flush([batch(0, 0, 1)]).batches = ()  # type: ignore[misc]  # that is the point
