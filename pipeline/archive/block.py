"""The block of a flush: one Arrow record batch, so that ClickHouse takes it as one block."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.archive.flush import Flush
from pipeline.domain.batch import RecordBatch
from pipeline.domain.strings import Strings, pack_strings

FORMAT = "ArrowStream"  # of what ``Blocks`` makes, in ClickHouse's words
COLUMNS = ("topic", "partition", "offset", "append_time", "key", "value", "headers")  # of `votes_log` that are inserted

_HEADER = pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])
_MEMORY_STEP = 16 << 20  # bytes: flushes are of about one size, and so any memory serves for any of them
_MOST_FREE = 4  # two flushes are made or on their way, each with its strings and its stream
_MOST_KEPT = 128 << 20  # bytes of one memory: a flush of odd records may need more, once
_AROUND = 1024  # bytes, at most, of a stream's ends, beside its schema


class Blocks:
    """Makes blocks in memory that it uses again: fresh memory is cleared by the kernel, which costs as much as filling it."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []
        self._one_at_a_time = Lock()

    def make(self, flush: Flush) -> memoryview:
        """Make the block of a flush: an Arrow stream of one record batch. Calls from several threads may overlap."""
        strings = self._take(flush.bytes)
        block = block_of(flush, strings)
        memory = self._take(pa.ipc.get_record_batch_size(block) + block.schema.serialize().size + _AROUND)
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(memory))
        with pa.ipc.new_stream(sink, block.schema) as stream:
            stream.write_batch(block)
        self._keep(strings)
        return memoryview(memory)[: sink.tell()]

    def give_back(self, block: memoryview) -> None:
        """Use a block's memory for others: nobody reads it any more."""
        memory = block.obj
        if isinstance(memory, bytearray):
            self._keep(memory)

    def _keep(self, memory: bytearray) -> None:
        with self._one_at_a_time:
            if len(self._free) < _MOST_FREE and len(memory) <= _MOST_KEPT:
                self._free.append(memory)

    def _take(self, nbytes: int) -> bytearray:
        with self._one_at_a_time:
            while self._free:
                memory = self._free.pop()
                if len(memory) >= nbytes:
                    return memory
        return bytearray(-(-nbytes // _MEMORY_STEP) * _MEMORY_STEP)


def block_of(flush: Flush, memory: bytearray | None = None) -> pa.RecordBatch:
    """Make the columns of a flush's rows, in the order of partition and offset.

    Keys, values and header values are any bytes: Arrow's binary is ClickHouse's String, and None its NULL. Keys and values
    are packed in `memory` (at least ``flush.bytes``), if it is given, and stand there as long as it is left alone.
    """
    batches = flush.batches
    packed = np.frombuffer(bytearray(flush.bytes) if memory is None else memory, np.uint8)
    keys, values = [batch.keys for batch in batches], [batch.values for batch in batches]
    of_keys = sum(column.nbytes for column in keys)
    sizes = [len(batch) for batch in batches]
    times = np.concatenate([batch.append_times for batch in batches])
    offsets = np.concatenate([np.arange(batch.first_offset, batch.next_offset, dtype=np.uint64) for batch in batches])
    columns = [
        pa.repeat(flush.topic, flush.rows),
        pa.array(np.repeat(np.array([batch.partition for batch in batches], np.uint32), sizes)),
        pa.array(offsets),
        pa.array(times).cast(pa.timestamp("ms", tz="UTC")),
        _texts(keys, packed[:of_keys]),
        _texts(values, packed[of_keys:]),
        _headers(batches),
    ]
    return pa.RecordBatch.from_arrays(columns, names=COLUMNS)


def _texts(columns: Sequence[Strings], packed: Any) -> pa.BinaryArray:
    """Pack strings one behind the other, as Arrow has them."""
    bounds = pack_strings(columns, packed)
    present = np.concatenate([column.lengths >= 0 for column in columns])
    are_present = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(present), [are_present, pa.py_buffer(bounds), pa.py_buffer(packed)]
    )


def _headers(batches: Sequence[RecordBatch]) -> pa.ListArray:
    """A list of (name, value) for each record; almost always empty."""
    if any(any(batch.headers) for batch in batches):
        rows = [
            [{"name": name, "value": value} for name, value in headers]
            for batch in batches
            for headers in batch.headers
        ]
        return pa.array(rows, pa.list_(_HEADER))
    return pa.ListArray.from_arrays(np.zeros(sum(map(len, batches)) + 1, np.int32), pa.array([], _HEADER))
