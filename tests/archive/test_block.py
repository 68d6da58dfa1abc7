"""The block of a flush is what the log has, in memory that is used again and again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from pipeline.archive.block import COLUMNS, Blocks
from pipeline.archive.flush import Flush
from pipeline.domain.batch import Headers, RecordBatch

ODD = [None, b"", b"\0", b"\xff\xfe", b"a", "ü".encode() * 9, b"x" * 1_000]


def batch(partition: int, first_offset: int, strings: Sequence[bytes | None], headers: Headers = ()) -> RecordBatch:
    times = [1_000 + number for number in range(len(strings))]
    return RecordBatch.of(
        "votes", partition, first_offset, times, strings, strings[::-1], [headers, *[()] * (len(strings) - 1)]
    )


def rows_of(block: memoryview) -> list[dict[str, Any]]:
    with pa.ipc.open_stream(block) as stream:
        batches = list(stream)
    (only,) = batches  # more would be more blocks to ClickHouse
    assert tuple(only.schema.names) == COLUMNS
    only.validate(full=True)
    times = only["append_time"].cast(pa.int64()).to_pylist()
    return [row | {"append_time": ms} for row, ms in zip(only.to_pylist(), times, strict=True)]


def expected_of(flush: Flush) -> list[dict[str, Any]]:
    return [
        {
            "topic": each.topic,
            "partition": each.partition,
            "offset": each.first_offset + place,
            "append_time": int(each.append_times[place]),
            "key": each.keys[place],
            "value": each.values[place],
            "headers": [{"name": name, "value": value} for name, value in each.headers[place]],
        }
        for each in flush.batches
        for place in range(len(each))
    ]


@pytest.mark.parametrize("headers", [(), [("edge", b"\xff"), ("", None), ("edge", b"")]])
@pytest.mark.parametrize("strings", [ODD, [b"key"] * 9, [None] * 9, [b""]])
def test_each_row_is_its_record(strings: list[bytes | None], headers: Headers) -> None:
    flush = Flush([batch(3, 105, strings), batch(1, 7, strings, headers), batch(3, 100, [b"a", None, b"", b"b", b"c"])])
    assert rows_of(Blocks().make(flush)) == expected_of(flush)
    alone = Flush([batch(1, 7, strings, headers)])  # perhaps without a byte
    assert rows_of(Blocks().make(alone)) == expected_of(alone)


def test_memory_that_is_used_again_holds_nothing_of_before() -> None:
    blocks = Blocks()
    flushes = [Flush([batch(0, 0, ODD * repeats)]) for repeats in (500, 1, 30_000, 20, 40_000)]
    for flush in flushes:
        block = blocks.make(flush)
        assert rows_of(block) == expected_of(flush)
        blocks.give_back(block)


def test_a_block_stays_until_it_is_given_back() -> None:
    """Each of several threads' blocks has memory of its own."""
    blocks = Blocks()
    flushes = [Flush([batch(number, number, ODD * (number + 1))]) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            made = list(threads.map(blocks.make, flushes))
            for flush, block in zip(flushes, made, strict=True):
                assert rows_of(block) == expected_of(flush)
            for block in made:
                blocks.give_back(block)
