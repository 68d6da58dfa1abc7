"""The bytes of a record that are hashed: everything that the log says of it, in one unambiguous form.

A leaf is the SHA-256 of a zero byte (which no inner node of the tree begins with, RFC 6962, 2.1) and this text, where a
length stands before whatever could hold a colon::

    <partition>:<offset>:<append time>:<key>:<value>:<headers>

Numbers are decimal; a key or value is `<length>:<bytes>`, or `-` for none; headers follow each other, name, then value, in
the same form. ClickHouse computes the same (``pipeline.archive.digests``), and tests hold the two to each other.
"""

import hashlib
from collections.abc import Iterable

from pipeline.domain.batch import Headers, RecordBatch


def leaves_of(batch: RecordBatch) -> list[bytes]:
    """Give the hash of each record, 32 bytes."""
    sha256, partition = hashlib.sha256, batch.partition
    records = zip(batch.append_times.tolist(), batch.keys, batch.values, batch.headers, strict=True)
    return [
        sha256(leaf_bytes(partition, offset, *record)).digest()
        for offset, record in enumerate(records, batch.first_offset)
    ]


def leaf_bytes(  # noqa: PLR0913, PLR0917  # a record has so many parts
    partition: int, offset: int, append_ms: int, key: bytes | None, value: bytes | None, headers: Headers
) -> bytes:
    """Give what is hashed."""
    return b"\0%d:%d:%d:%b:%b:%b" % (partition, offset, append_ms, _text(key), _text(value), _all(headers))


def _text(content: bytes | None) -> bytes:
    return b"-" if content is None else b"%d:%b" % (len(content), content)


def _all(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    return b"".join(_text(name.encode()) + _text(value) for name, value in headers) if headers else b""
