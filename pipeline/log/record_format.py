"""Kafka's record batches, as they come from a broker: read into columns, without an object for each record.

The format is version 2, which brokers since 0.11 write: https://kafka.apache.org/documentation/#recordbatch and, below it,
`#record`. Numbers of a batch are big-endian; those of a record are varints, zigzag, of 7 bits a byte, the low ones first.

What a broker takes must be read, however odd: else one record would end each worker that comes to it, at each start anew.
Brokers check neither a record's offset delta nor that a length is in its shortest form, and take any negative length as none.
So a record's offset is its place in the batch here, and numbers are read as Kafka reads them.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import NamedTuple

import numpy as np
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException
from cramjam import DecompressionError
from crc32c import crc32c
from numpy.typing import NDArray

from pipeline.domain.batch import Headers
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
_INT = 0xFFFFFFFF  # what is above is dropped
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
    sizes = np.array([block.size for block in blocks])
    if (sizes < 0).any():
        raise CorruptRecordException("a record batch has less than no records")
    buffer, stretches = _stretches(blocks)
    starts, ends = _bounds(buffer, sizes, stretches)
    block_of = np.arange(len(blocks)).repeat(sizes)
    fields = _Fields(buffer, starts)
    fields.varints()  # the record's length, which `_bounds` read
    fields.at += 1  # attributes, of which none is in use
    time_deltas = fields.varints(_LONG_BYTES)
    fields.varints()  # the offset's delta
    keys, values = fields.strings(), fields.strings()
    header_counts = fields.varints()
    has_headers = header_counts != 0
    if (fields.at > ends).any() or (header_counts < 0).any() or ((fields.at != ends) & ~has_headers).any():
        raise CorruptRecordException(f"records after offset {blocks[0].base_offset} are not as long as they say")
    headers: list[Headers] = [_NO_HEADERS] * len(starts)
    if with_headers:
        for place in has_headers.nonzero()[0].tolist():
            headers[place] = _headers(buffer, int(fields.at[place]), int(ends[place]), int(header_counts[place]))
    by_log = np.array([block.attributes & _LOG_APPEND_TIME for block in blocks], np.bool_)
    base_ms, max_ms = (
        np.array(times, np.int64) for times in zip(*((b.base_ms, b.max_ms) for b in blocks), strict=True)
    )
    return Records(
        np.where(by_log[block_of], max_ms[block_of], base_ms[block_of] + time_deltas),
        keys,
        values,
        headers,
    )


def _stretches(blocks: Sequence[Block]) -> tuple[bytes, Numbers]:
    """Give a buffer, and where in it the records of each block begin and end."""
    if not any(block.codec for block in blocks):
        return blocks[0].response, np.array([(block.begin, block.end) for block in blocks])
    pieces = [block.unpacked() for block in blocks]
    lengths = np.array([len(piece) for piece in pieces])
    ends = lengths.cumsum()
    if ends[-1] > _MOST_BYTES:
        raise CorruptRecordException(f"the records from {blocks[0].base_offset} on have more than {_MOST_BYTES} bytes")
    return b"".join(pieces), np.stack([ends - lengths, ends], axis=1)


def _bounds(buffer: bytes, sizes: Numbers, stretches: Numbers) -> tuple[Numbers, Numbers]:
    """Find where each record starts and ends: by a guess that is proven, else from one to the next."""
    guess = _guess(buffer, sizes, stretches)
    return guess if guess is not None else _one_by_one(buffer, sizes, stretches)


def _guess(buffer: bytes, sizes: Numbers, stretches: Numbers) -> tuple[Numbers, Numbers] | None:
    """Look for what most records begin with: a length of two bytes, and a 0.

    It is right if as many are found as there are, the first one where the block begins, and each next one where the
    length of the one before says so. None: it is not.
    """
    content = np.frombuffer(buffer, np.uint8)
    zeros = (content[2:] == 0).nonzero()[0]
    starts = zeros[(content[zeros] > 127) & (content[zeros + 1] < 128)]
    begins, block_ends = stretches.T
    block_of = np.searchsorted(begins, starts, side="right") - 1
    is_inside = (block_of >= 0) & (starts < block_ends[block_of])
    starts, block_of = starts[is_inside], block_of[is_inside]
    if not len(starts) or not np.array_equal(np.bincount(block_of, minlength=len(sizes)), sizes):
        return None
    ends = starts + 2 + ((content[starts] & 127 | content[starts + 1].astype(np.int64) << 7) >> 1)
    goes_on = block_of[1:] == block_of[:-1]
    firsts, lasts = np.append(True, ~goes_on), np.append(~goes_on, True)
    is_right = (
        np.array_equal(starts[firsts], begins[sizes > 0])
        and np.array_equal(ends[lasts], block_ends[sizes > 0])
        and np.array_equal(ends[:-1][goes_on], starts[1:][goes_on])
    )
    return (starts, ends) if is_right else None


def _one_by_one(buffer: bytes, sizes: Numbers, stretches: Numbers) -> tuple[Numbers, Numbers]:
    starts: list[int] = []
    ends: list[int] = []
    try:
        for size, (at, block_end) in zip(sizes.tolist(), stretches.tolist(), strict=True):
            end = at
            for _ in range(size):
                starts.append(end)
                length, end = _varint(buffer, end)
                if length < 0:
                    raise CorruptRecordException("a record has a negative length")
                end += length
                ends.append(end)
            if end != block_end:
                raise CorruptRecordException(f"{size} records have {end - at} bytes, their batch has {block_end - at}")
    except IndexError:
        raise CorruptRecordException("a record ends behind its batch") from None
    return np.array(starts, np.int64), np.array(ends, np.int64)


class _Fields:
    """Fields of many records, one after the other. `at` is where each record's next field begins."""

    def __init__(self, buffer: bytes, at: Numbers) -> None:
        self.buffer, self.at = buffer, at.copy()
        self._bytes: NDArray[np.uint8] = np.frombuffer(buffer, np.uint8)

    def varints(self, most_bytes: int = _INT_BYTES) -> Numbers:
        """Read a number of each, an int if it has 5 bytes at the most, else a long."""
        byte = self._bytes.take(self.at, mode="clip")  # what lies behind the end is found when all has been read
        value = (byte & 127).astype(np.uint64)
        self.at += 1
        goes_on = byte > 127
        shift = 7
        while goes_on.any():
            if shift >= 7 * most_bytes:
                raise CorruptRecordException("a record has a number that does not end")
            byte = np.where(goes_on, self._bytes.take(self.at, mode="clip"), 0)
            value |= (byte & 127).astype(np.uint64) << np.uint64(shift)
            self.at += goes_on
            goes_on = byte > 127
            shift += 7
        if most_bytes == _INT_BYTES:
            value &= np.uint64(_INT)
        return (value >> _ONE).astype(np.int64) ^ -(value & _ONE).astype(np.int64)

    def strings(self) -> Strings:
        """Read a string of each: its length, less than 0 for none, and its bytes."""
        lengths = np.maximum(self.varints(), -1)
        found = Strings(self.buffer, self.at.copy(), lengths)
        self.at += np.maximum(lengths, 0)
        return found


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
