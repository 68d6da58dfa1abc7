"""Kafka's record batches, as they come from a broker: read into columns, without an object for each record.

The format is version 2, which brokers since 0.11 write: https://kafka.apache.org/documentation/#recordbatch and, below it,
`#record`. Numbers of a batch are big-endian; those of a record are varints, zigzag, of 7 bits a byte, the low ones first.

What a broker takes must be read, however odd: else one record would end each worker that comes to it, at each start anew.
Brokers check neither a record's offset delta nor that a length is in its shortest form, and take any negative length as none.
So a record's offset is its place in the batch here, and numbers are read as Kafka reads them.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from struct import Struct
from typing import Any, NamedTuple

import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException
from cramjam import DecompressionError
from crc32c import crc32c

from pipeline.domain.batch import Headers
from pipeline.domain.native import INT, NUMBER_TABLE, READ_BYTES, loop, part
from pipeline.domain.strings import Numbers, Strings

# baseOffset, batchLength, partitionLeaderEpoch, magic, crc, attributes, lastOffsetDelta, baseTimestamp, maxTimestamp,
# producerId, producerEpoch, baseSequence, the number of records
_HEAD = Struct(">qiibIhiqqqhii")
_BEFORE_LENGTH = 12  # bytes that batchLength does not count: those up to and with itself
_BEFORE_CRC = 21  # bytes that the checksum is not of: those up to and with itself
_MAGIC = 2
_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20  # of attributes
_CODECS: Mapping[int, Callable[[bytes], bytes]] = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_ONE = np.uint64(1)
_INT_BYTES, _LONG_BYTES = 5, 10  # of a varint at the most
_INT, _LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_LEAST_RECORD = 7  # bytes, of one that has nothing
# What is read of each record: of its strings, and of the rest.
_KEY_START, _KEY_LENGTH, _VALUE_START, _VALUE_LENGTH = range(4)
_TIME_DELTA, _HEADERS_START, _HEADER_COUNT, _END = range(4)
_FIELDS = 4
_MOST_BYTES = 1 << 30  # of the records of a fetch, unpacked

_NO_HEADERS: Headers = ()  # one for all: an object each would be a third of what the garbage collector has to look at


class Block(NamedTuple):
    """A record batch of Kafka's; what it says of its records, and where these stand in the response."""

    base_offset: int
    next_offset: int
    attributes: int
    base_ms: int
    max_ms: int
    size: int  # records
    response: bytes
    begin: int
    end: int

    @property
    def is_of_transaction(self) -> bool:
        """Whether it belongs to one, or tells how one ended."""
        return bool(self.attributes & (_TRANSACTIONAL | _CONTROL))

    @property
    def codec(self) -> int:
        """How its records are packed; 0: they are not."""
        return self.attributes & _CODEC

    def unpacked(self) -> bytes:
        """Give the records' bytes.

        Raises:
            CorruptRecordException: they are packed in no way that is known, or not as they say.
        """
        records = self.response[self.begin : self.end]
        if not self.codec:
            return records
        if self.codec not in _CODECS:
            raise CorruptRecordException(f"the record batch at {self.base_offset} is packed by codec {self.codec}")
        try:
            return _CODECS[self.codec](records)
        except (OSError, EOFError, zlib.error, DecompressionError) as error:
            raise CorruptRecordException(
                f"the record batch at {self.base_offset} cannot be unpacked: {error}"
            ) from error


class Records(NamedTuple):
    """Columns of the records of some blocks."""

    append_times: Numbers  # ms since the epoch
    keys: Strings
    values: Strings
    headers: Sequence[Headers]


def blocks_of(response: bytes) -> list[Block]:
    """Take a partition's share of a response apart. Where a broker cut off the last batch, it is left out.

    Raises:
        CorruptRecordException: a batch fails its checksum, or is of another format.
    """
    blocks: list[Block] = []
    whole = memoryview(response)
    at = 0
    while at + _HEAD.size <= len(whole):
        head = _HEAD.unpack_from(whole, at)
        base_offset, length, _, magic, crc, attributes, last_delta, base_ms, max_ms, *_, size = head
        end = at + _BEFORE_LENGTH + length
        if end > len(whole):
            break
        if length < _HEAD.size - _BEFORE_LENGTH:
            raise CorruptRecordException(f"the record batch at {base_offset} says that it has {length} bytes")
        if magic != _MAGIC:
            raise CorruptRecordException(f"the record batch at {base_offset} is of format {magic}, not {_MAGIC}")
        if crc32c(whole[at + _BEFORE_CRC : end]) != crc:
            raise CorruptRecordException(f"the record batch at {base_offset} fails its checksum")
        next_offset = base_offset + last_delta + 1
        begin = at + _HEAD.size
        blocks.append(Block(base_offset, next_offset, attributes, base_ms, max_ms, size, response, begin, end))
        at = end
    return blocks


def read_records(blocks: Sequence[Block], *, with_headers: bool) -> Records:
    """Read the records of blocks of one response into columns; that of headers has none, if they are not asked for.

    Raises:
        CorruptRecordException: a record is not what the format says.
    """
    buffer, stretches = _stretches(blocks)
    for block, (begin, end) in zip(blocks, stretches, strict=True):
        if not 0 <= block.size <= (end - begin) // _LEAST_RECORD:
            raise CorruptRecordException(
                f"the record batch at {block.base_offset} has {end - begin} bytes of {block.size} records"
            )
    size = sum(block.size for block in blocks)
    content, times = np.frombuffer(buffer, np.uint8), np.empty(size, np.int64)
    # Apart, since only the first are kept.
    strings, others = np.empty((_FIELDS, size), np.int64), np.empty((_FIELDS, size), np.int64)
    first = 0
    for block, (begin, end) in zip(blocks, stretches, strict=True):
        place = _walk(content, begin, end, first, block.size, strings, others)
        if place >= 0:
            raise CorruptRecordException(f"the record at {block.base_offset + place} is not as long as it says")
        of_block = slice(first, first + block.size)
        is_by_log = block.attributes & _LOG_APPEND_TIME
        times[of_block] = block.max_ms if is_by_log else block.base_ms + others[_TIME_DELTA, of_block]
        first += block.size
    headers: list[Headers] = [_NO_HEADERS] * size
    if with_headers:
        for index in others[_HEADER_COUNT].nonzero()[0].tolist():
            at, end, count = others[[_HEADERS_START, _END, _HEADER_COUNT], index].tolist()
            headers[index] = _headers(buffer, at, end, count)
    return Records(
        times,
        Strings(buffer, strings[_KEY_START], strings[_KEY_LENGTH]),
        Strings(buffer, strings[_VALUE_START], strings[_VALUE_LENGTH]),
        headers,
    )


def _stretches(blocks: Sequence[Block]) -> tuple[bytes, list[tuple[int, int]]]:
    """Give a buffer, and where in it the records of each block begin and end."""
    if not any(block.codec for block in blocks):
        return blocks[0].response, [(block.begin, block.end) for block in blocks]
    pieces = [block.unpacked() for block in blocks]
    ends = list(accumulate(map(len, pieces), initial=0))
    if ends[-1] > _MOST_BYTES:
        raise CorruptRecordException(f"the records from {blocks[0].base_offset} on have more than {_MOST_BYTES} bytes")
    return b"".join(pieces), list(pairwise(ends))


@part
def _number(content: Any, at: int, end: int, most_bytes: int, bits: int) -> Any:
    """Read a varint that ends before `end`, and drop what is above so many bits. Give it, and where the next field begins.

    That is behind `end` if it does not end there.
    """
    value, shift = np.uint64(0), np.uint64(0)
    for place in range(at, min(end, at + most_bytes)):
        byte = np.uint64(content[place])
        value |= (byte & np.uint64(127)) << shift
        shift += np.uint64(7)
        if byte < np.uint64(128):
            value &= np.uint64(_LONG) >> np.uint64(64 - bits)
            return np.int64(value >> _ONE) ^ -np.int64(value & _ONE), place + 1
    return np.int64(0), end + 1


@part
def _int(content: Any, at: int, end: int) -> Any:
    return _number(content, at, end, _INT_BYTES, 32)


@loop(INT, READ_BYTES, INT, INT, INT, INT, NUMBER_TABLE, NUMBER_TABLE)
def _walk(content: Any, begin: int, end: int, first: int, size: int, strings: Any, others: Any) -> int:
    """Read the records of a block into columns, from the first on. Give which is wrong (`size`: their end); -1: none."""
    at = begin
    for index in range(first, first + size):
        length, at = _int(content, at, end)
        record_end = at + length
        if length < 0 or record_end > end:
            return index - first
        at += 1  # attributes, of which none is in use
        time_delta, at = _number(content, at, record_end, _LONG_BYTES, 64)
        _, at = _int(content, at, record_end)  # the offset's delta
        key_length, at = _int(content, at, record_end)
        key_start, key_length = at, max(key_length, -1)
        at += max(key_length, 0)
        value_length, at = _int(content, at, record_end)
        value_start, value_length = at, max(value_length, -1)
        at += max(value_length, 0)
        header_count, at = _int(content, at, record_end)
        if header_count < 0 or at > record_end or (not header_count and at < record_end):
            return index - first
        others[_TIME_DELTA, index] = time_delta
        strings[_KEY_START, index] = key_start
        strings[_KEY_LENGTH, index] = key_length
        strings[_VALUE_START, index] = value_start
        strings[_VALUE_LENGTH, index] = value_length
        others[_HEADERS_START, index] = at
        others[_HEADER_COUNT, index] = header_count
        others[_END, index] = record_end
        at = record_end
    return -1 if at == end else size


def _headers(buffer: bytes, at: int, end: int, count: int) -> Headers:
    """Read the headers of a record. A name that is not UTF-8 has U+FFFD where it is not, as Kafka's own clients read it."""
    found: list[tuple[str, bytes | None]] = []
    try:
        for _ in range(count):
            length, at = _varint(buffer, at)
            name, at = buffer[at : at + length], at + length
            size, at = _varint(buffer, at)
            value, at = (None, at) if size < 0 else (buffer[at : at + size], at + size)
            if length < 0 or at > end:
                break
            found.append((name.decode(errors="replace"), value))
    except IndexError:
        pass
    if at != end or len(found) < count:
        raise CorruptRecordException("a record's headers are not as long as it says")
    return found


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while (byte := buffer[at]) > 127:
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if shift >= 7 * _INT_BYTES:
            raise CorruptRecordException("a record has a number that does not end")
    value = (value | byte << shift) & _INT
    return (value >> 1) ^ -(value & 1), at + 1
