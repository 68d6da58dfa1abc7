"""The columns of a flush: one Arrow record batch, so that ClickHouse takes it as one block."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.archive.flush import Flush
from pipeline.domain.batch import Headers, RecordBatch
from pipeline.domain.strings import Strings

_HEADER = pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])


def block_of(flush: Flush) -> pa.Table:
    """Make the seven columns of `votes_log` that are inserted, in the order of partition and offset.

    Keys, values and header values are any bytes: Arrow's binary is ClickHouse's String, and None its NULL.
    """
    batches = flush.batches
    return pa.table(
        {
            "topic": pa.repeat(flush.topic, flush.rows),
            "partition": _joined(pa.repeat(pa.scalar(batch.partition, pa.uint32()), len(batch)) for batch in batches),
            "offset": _joined(pa.arange(batch.first_offset, batch.next_offset) for batch in batches).cast(pa.uint64()),
            "append_time": _append_times(batches),
            "key": _joined(_texts(batch.keys) for batch in batches),
            "value": _joined(_texts(batch.values) for batch in batches),
            "headers": _headers([headers for batch in batches for headers in batch.headers]),
        }
    )


def _joined(columns: Iterable[Any]) -> Any:
    return pa.concat_arrays(list(columns))


def _texts(column: Strings) -> Any:
    """Make an array of strings that stand in their buffer in order: of each one, and what lies behind it, the first."""
    bounds = np.stack([column.starts, column.starts + np.maximum(column.lengths, 0)], axis=1).astype(np.int32)
    parts = 2 * len(column) - 1  # an array has one bound more than strings
    everything = pa.BinaryArray.from_buffers(
        pa.binary(), parts, [None, pa.py_buffer(bounds), pa.py_buffer(column.buffer)]
    )
    return everything.take(pa.array(np.arange(0, parts, 2), mask=column.lengths < 0))


def _append_times(batches: Sequence[RecordBatch]) -> Any:
    return _joined(pa.array(batch.append_times) for batch in batches).cast(pa.timestamp("ms", tz="UTC"))


def _headers(records: Sequence[Headers]) -> Any:
    """A list of (name, value) for each record; almost always empty."""
    if any(records):
        rows = [[{"name": name, "value": value} for name, value in headers] for headers in records]
        return pa.array(rows, pa.list_(_HEADER))
    offsets = pa.repeat(pa.scalar(0, pa.int32()), len(records) + 1)
    return pa.ListArray.from_arrays(offsets, pa.array([], _HEADER))
