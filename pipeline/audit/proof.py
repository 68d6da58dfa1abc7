"""The proof that one record is among those of a certificate, without the others: its bytes, its place, some twenty hashes."""

import base64
import hashlib
from collections.abc import Sequence

import msgspec

from pipeline.audit.certificate import Statement
from pipeline.audit.leaf import leaf_bytes
from pipeline.audit.merkle import path_to, root_from
from pipeline.domain.batch import RecordBatch
from pipeline.errors import CertificateError


class Proof(msgspec.Struct, frozen=True):
    """One record of the log and its path to the root. Bytes are base64."""

    partition: int
    offset: int
    append_time: int
    key: str | None
    value: str | None
    headers: Sequence[tuple[str, str | None]]
    first: int  # offset of the first record under the root
    size: int  # records under the root
    path: Sequence[str]  # hex, from the record up

    def leaf(self) -> bytes:
        """Give the record's hash.

        Raises:
            CertificateError: what should be base64 is not.
        """
        return hashlib.sha256(
            leaf_bytes(
                self.partition,
                self.offset,
                self.append_time,
                _bytes(self.key),
                _bytes(self.value),
                [(name, _bytes(value)) for name, value in self.headers],
            )
        ).digest()

    def record(self) -> bytes | None:
        """Give the record's value.

        Raises:
            CertificateError: what should be base64 is not.
        """
        return _bytes(self.value)


def prove(record: RecordBatch, leaves: Sequence[bytes], first: int) -> Proof:
    """Make the proof of a batch's first record, from the leaves of its partition; the first leaf is at offset `first`."""
    index = record.first_offset - first
    return Proof(
        record.partition,
        record.first_offset,
        int(record.append_times[0]),
        _text(record.keys[0]),
        _text(record.values[0]),
        [(name, _text(value)) for name, value in record.headers[0]],
        first,
        len(leaves),
        [node.hex() for node in path_to(leaves, index)],
    )


def check(proof: Proof, statement: Statement) -> None:
    """Make sure that a proof leads to the root of a certified range.

    Raises:
        CertificateError: it does not.
    """
    certified = {each.partition: each for each in statement.partitions}.get(proof.partition)
    if certified is None or (proof.first, proof.size) != (certified.first, certified.next - certified.first):
        raise CertificateError(f"the certificate has no such range of partition {proof.partition}")
    try:
        path = [bytes.fromhex(node) for node in proof.path]
    except ValueError as error:
        raise CertificateError(f"the path is not made of hashes: {error}") from error
    root = root_from(proof.leaf(), proof.offset - proof.first, proof.size, path)
    if root is None or root.hex() != certified.root:
        raise CertificateError(
            f"the record at offset {proof.offset} of partition {proof.partition} is not among those that were certified"
        )


def _text(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _bytes(text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise CertificateError(f"the record in the proof is not base64: {error}") from error
