"""When a flush is due. Timelines: each `.` is 100 ms, `5` is a batch of five records, `F` is where the flush is due."""

import pytest

from pipeline.archive.buffer import FlushPolicy
from pipeline.domain.batch import RecordBatch

POLICY = FlushPolicy(max_rows=10, max_bytes=100, max_age_ms=500)


def batch(partition: int, first_offset: int, records: int, value: bytes = b"v") -> RecordBatch:
    return RecordBatch.of(
        "votes", partition, first_offset, [0] * records, [None] * records, [value] * records, [()] * records
    )


def test_nothing_is_never_due() -> None:
    buffer = POLICY.buffer()
    assert not buffer.is_due(1_000_000)
    assert buffer.due_in_ms(1_000_000) is None
    assert buffer.take() is None
    buffer.add(batch(0, 0, 0), 0)
    assert buffer.due_in_ms(0) is None


def test_age_counts_from_the_oldest_batch() -> None:
    # ..1...1.F
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 1), 200)
    buffer.add(batch(1, 0, 1), 600)
    assert buffer.due_in_ms(600) == 100
    assert not buffer.is_due(699)
    assert buffer.is_due(700)
    assert buffer.due_in_ms(5_000) == 0


def test_rows_of_all_partitions_count() -> None:
    # 55F
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 5), 0)
    assert not buffer.is_due(0)
    buffer.add(batch(1, 77, 5), 0)
    assert buffer.is_due(0)


def test_bytes_count() -> None:
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 1, b"x" * 99), 0)
    assert not buffer.is_due(0)
    buffer.add(batch(0, 1, 1, b"x"), 0)
    assert buffer.is_due(0)


def test_take_begins_anew() -> None:
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 5), 0)
    buffer.add(batch(0, 5, 2), 400)
    flush = buffer.take()
    assert flush is not None
    assert flush.next_offsets == {0: 7}
    assert (buffer.rows, buffer.bytes, buffer.due_in_ms(1_000)) == (0, 0, None)
    buffer.add(batch(0, 20, 1), 1_000)  # what came before it is no longer the buffer's business
    assert buffer.due_in_ms(1_000) == 500


@pytest.mark.parametrize("first_offset", [4, 6])
def test_a_batch_must_follow_the_one_before(first_offset: int) -> None:
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 5), 0)
    with pytest.raises(ValueError, match="does not follow 5"):
        buffer.add(batch(0, first_offset, 1), 0)
    assert buffer.rows == 5


def test_discarded_partitions_leave_nothing_behind() -> None:
    buffer = POLICY.buffer()
    buffer.add(batch(0, 0, 3), 0)
    buffer.add(batch(1, 0, 4), 100)
    buffer.discard({0})
    assert (buffer.rows, buffer.bytes) == (4, 4)
    buffer.add(batch(0, 50, 1), 200)
    flush = buffer.take()
    assert flush is not None
    assert flush.next_offsets == {0: 51, 1: 4}
    buffer.add(batch(1, 4, 1), 300)
    buffer.discard({1, 2})
    assert buffer.due_in_ms(300) is None
