"""Kafka's record batches, made by aiokafka's own builder, are read as aiokafka reads them, or refused."""

import random
import struct
from collections.abc import Callable, Sequence

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from crc32c import crc32c

from pipeline.log.fetched import KeptRecords
from pipeline.log.record_format import Records, blocks_of, read_records

Written = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def block(records: Sequence[Written], base: int = 0, codec: int = NONE, *, log_append_ms: int | None = None) -> bytes:
    """Write a record batch as a broker has it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 24)
    for delta, (time_ms, key, value, headers) in enumerate(records):
        builder.append(delta, time_ms, key, value, headers)
    made = bytearray(builder.build())
    made[:8] = base.to_bytes(8)
    if log_append_ms is not None:
        (attributes,) = struct.unpack_from(">h", made, 21)
        struct.pack_into(">h", made, 21, attributes | 8)
        struct.pack_into(">q", made, 35, log_append_ms)
    return signed(made)


def signed(made: bytearray) -> bytes:
    struct.pack_into(">I", made, 17, crc32c(made[21:]))
    return bytes(made)


def of_lists(records: Records) -> list[tuple[object, ...]]:
    headers = [list(of_record) for of_record in records.headers]
    return list(zip(records.append_times.tolist(), records.keys, records.values, headers, strict=True))


def by_aiokafka(response: bytes) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    every = MemoryRecords(response)
    while every.has_next():
        found += [(record.timestamp, record.key, record.value, list(record.headers)) for record in every.next_batch()]
    return found


def some_records(chosen: random.Random, size: int) -> list[Written]:
    """Make records of all sizes: lengths of one byte to three, and values with the bytes that lengths are told by."""
    texts: list[Callable[[], bytes | None]] = [
        lambda: None,
        lambda: b"",
        lambda: chosen.randbytes(chosen.choice([1, 20, 63, 64, 200])),
        lambda: b"\xff\x01\0" * chosen.choice([1, 30]),
        lambda: b'{"type":"vote"}' * 15,
    ]
    return [
        (
            1_790_000_000_000 + chosen.choice([-70_000, 0, 0, 1, 200, 100_000]),
            chosen.choice(texts)(),
            chosen.randbytes(9_000) if chosen.random() < 0.1 else chosen.choice(texts)(),
            [("trace", b"\0\xff")] * chosen.choice([0, 0, 0, 1, 200]) + [("näme", None)] * chosen.choice([0, 0, 1]),
        )
        for _ in range(size)
    ]


def votes(size: int, headers: list[tuple[str, bytes | None]] | None = None) -> list[Written]:
    return [(1_790_000_000_000 + at // 7, b"v" * 22, b"x" * (200 + at % 5), headers or []) for at in range(size)]


@pytest.mark.parametrize("seed", range(40))
def test_it_reads_what_aiokafka_reads(seed: int) -> None:
    chosen = random.Random(seed)
    response = b"".join(
        block(
            some_records(chosen, chosen.choice([1, 3, 150]))
            if chosen.random() < 0.5
            else votes(chosen.choice([1, 300])),
            base,
            chosen.choice([NONE, NONE, GZIP, SNAPPY, LZ4, ZSTD]) if seed % 2 else NONE,
            log_append_ms=chosen.choice([None, 1_790_000_500_000]),
        )
        for base in range(7000, 12_000, 1000)
    )
    cut_off = response + block(votes(9))[: chosen.choice([0, 1, 60, 61, 80])]
    assert of_lists(read_records(blocks_of(cut_off), with_headers=True)) == by_aiokafka(response)


@pytest.mark.parametrize("delta", [1 << 62, -(1 << 62), (1 << 63) - 1, -(1 << 63)])
def test_instants_of_all_sizes(delta: int) -> None:
    zigzag, varint = (delta << 1 ^ delta >> 63) & (1 << 64) - 1, b""
    while zigzag > 127:
        varint, zigzag = varint + bytes((zigzag & 127 | 128,)), zigzag >> 7
    varint += bytes((zigzag,))
    record = b"\0" + varint + b"\0\x02k\x02v\0"
    records = read_records(blocks_of(by_hand(bytes((2 * len(record),)) + record)), with_headers=True)
    assert of_lists(records) == [(delta, b"k", b"v", [])]


def test_headers_are_read_only_if_asked_for() -> None:
    response = block(votes(3, [("trace", b"1")]))
    assert read_records(blocks_of(response), with_headers=False).headers == [()] * 3


def test_a_header_name_that_is_no_utf_8_is_no_end() -> None:
    written = bytearray(block([(0, b"k", b"v", [("name", b"1")])]))
    written[written.index(b"name") + 1] = 0xFF
    (headers,) = read_records(blocks_of(signed(written)), with_headers=True).headers
    assert headers == [("n\ufffdme", b"1")]


def by_hand(fields: bytes) -> bytes:
    """Write a batch of one record, or of more, with these bytes."""
    made = bytearray(block([(0, None, b"", [])]))
    del made[61:]
    made += fields
    struct.pack_into(">i", made, 8, len(made) - 12)
    return signed(made)


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        (b"\x10\0\0\0\x01\x04vv\0", None, b"vv"),
        (b"\x10\0\0\0\x03\x04vv\0", None, b"vv"),  # any negative length is none
        (b"\x10\0\0\x08\x02k\x02v\0", b"k", b"v"),  # an offset delta of 4: brokers do not look
        (b"\x90\0\0\0\0\x02k\x02v\0", b"k", b"v"),  # a length of two bytes where one would do
        (b"\x18\0\0\0\x82\x80\x80\x80\x10k\x02v\0", b"k", b"v"),  # one of five, with a bit that is beyond an int
    ],
)
def test_what_brokers_take_is_read(fields: bytes, key: bytes | None, value: bytes) -> None:
    records = read_records(blocks_of(by_hand(fields)), with_headers=True)
    assert of_lists(records) == [(0, key, value, [])]


@pytest.mark.parametrize(
    "fields",
    [
        b"\x1e\0\0\0\x82\x80\x80\x80\x80\x10k\x02v\0",  # a number of six bytes
        b"\xfe\xff\xff\xff\x1f\0\0\0\0\0",  # a length of -1 and more
        b"\x12\0\0\0\x02k\x02v\0",
        b"\x0e\0\0\0\x02k\x02v\0",
    ],
)
@pytest.mark.parametrize("with_headers", [True, False])
def test_what_no_broker_takes_is_refused(fields: bytes, *, with_headers: bool) -> None:
    with pytest.raises(CorruptRecordException):
        read_records(blocks_of(by_hand(fields)), with_headers=with_headers)


def test_headers_that_are_not_there_are_refused() -> None:
    with pytest.raises(CorruptRecordException, match="headers are not as long"):
        read_records(blocks_of(by_hand(b"\x10\0\0\0\x02k\x02v\x02")), with_headers=True)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_what_cannot_be_unpacked_is_refused(codec: int) -> None:
    written = bytearray(block(votes(3), codec=codec))
    written[61:] = b"\x01" + written[62:-9] + b"\xfe" * 9
    with pytest.raises(CorruptRecordException, match="the record batch at 0"):
        read_records(blocks_of(signed(written)), with_headers=True)


def test_a_batch_of_less_than_its_head_is_refused() -> None:
    written = bytearray(block(votes(3)))
    struct.pack_into(">i", written, 8, -12)
    with pytest.raises(CorruptRecordException, match="says that it has -12 bytes"):
        blocks_of(bytes(written))


def test_no_records_are_no_rows() -> None:
    made = bytearray(block(votes(1)))
    del made[61:]
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">i", made, 57, 0)
    assert of_lists(read_records(blocks_of(signed(made)), with_headers=True)) == []


def test_a_checksum_that_is_wrong_is_refused() -> None:
    written = bytearray(block(votes(3)))
    written[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="the record batch at 0 fails its checksum"):
        blocks_of(bytes(written))


def test_another_format_is_refused() -> None:
    written = bytearray(block(votes(3)))
    written[16] = 1
    with pytest.raises(CorruptRecordException, match="of format 1, not 2"):
        blocks_of(bytes(written))


def test_another_codec_is_refused() -> None:
    written = bytearray(block(votes(3)))
    written[22] |= 7
    with pytest.raises(CorruptRecordException, match="packed by codec 7"):
        read_records(blocks_of(signed(written)), with_headers=True)


@pytest.mark.parametrize("count", [-1, 0, 2, 4, 1 << 30])
def test_another_number_of_records_is_refused(count: int) -> None:
    written = bytearray(block(votes(3)))
    struct.pack_into(">i", written, 57, count)
    with pytest.raises(CorruptRecordException):
        read_records(blocks_of(signed(written)), with_headers=True)


def test_whatever_a_block_holds_it_is_read_inside_its_bounds_or_refused() -> None:
    """The checksum is right here, as if a broker had taken it. Brokers check most of this themselves: it is a second line."""
    chosen = random.Random(7)
    refused = 0
    for _ in range(3000):
        written = bytearray(block(some_records(chosen, 3) if chosen.random() < 0.5 else votes(3)))
        for _ in range(chosen.choice([1, 2, 5])):
            written[chosen.randrange(61, min(len(written), 400))] = chosen.choice([0, 1, 127, 128, 255])
        try:
            found = read_records(blocks_of(signed(written)), with_headers=chosen.random() < 0.5)
        except CorruptRecordException:
            refused += 1
            continue
        for column in (found.keys, found.values):
            assert (column.starts >= 61).all()
            assert (column.starts + column.lengths <= len(written)).all()
    assert refused > 100


def test_a_fetcher_keeps_the_bytes_that_came() -> None:
    assert fetcher.MemoryRecords is KeptRecords
    kept = KeptRecords(block(votes(3)))
    assert kept.response == block(votes(3))
    assert kept.size_in_bytes() == len(kept.response)
    assert kept.has_next()
