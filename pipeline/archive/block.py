"""The columns of a flush: one Arrow record batch, so that ClickHouse takes it as one block."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from pipeline.archive.flush import Flush
from pipeline.domain.batch import Headers, RecordBatch

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
            "key": pa.array(chain.from_iterable(batch.keys for batch in batches), pa.binary(), size=flush.rows),
            "value": pa.array(chain.from_iterable(batch.values for batch in batches), pa.binary(), size=flush.rows),
            "headers": _headers([headers for batch in batches for headers in batch.headers]),
        }
    )


def _joined(columns: Iterable[Any]) -> Any:
    return pa.concat_arrays(list(columns))


def _append_times(batches: Sequence[RecordBatch]) -> Any:
    times = _joined(pa.array(batch.append_times, pa.int64()) for batch in batches)
    return times.cast(pa.timestamp("ms", tz="UTC"))


def _headers(records: Sequence[Headers]) -> Any:
    """A list of (name, value) for each record; almost always empty."""
    if any(records):
        rows = [[{"name": name, "value": value} for name, value in headers] for headers in records]
        return pa.array(rows, pa.list_(_HEADER))
    offsets = pa.repeat(pa.scalar(0, pa.int32()), len(records) + 1)
    return pa.ListArray.from_arrays(offsets, pa.array([], _HEADER))
