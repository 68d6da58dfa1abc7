"""The certificate of a final result: what is said, in one form of bytes, and Ed25519 over it (RFC 8032).

The signed bytes are the statement as JSON with sorted keys and without spaces, UTF-8: what RFC 8785 makes of it, as it holds
no fractions and no keys but ASCII. A few lines of any language check it; ``deploy/certificate.md`` tells lawyers and
engineers how.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.audit.compare import Audit
from pipeline.audit.merkle import root_of
from pipeline.audit.witness import ArchiveWitness, LogWitness
from pipeline.domain.poll import Poll
from pipeline.domain.record import MAX_INSTANT_MS
from pipeline.errors import CertificateError, PollError, SettingError

FORMAT = 1


class CertifiedRange(msgspec.Struct, frozen=True):
    """The records of a partition that the result is made of, and those before that the log had: `first` to before `next`."""

    partition: int
    first: int
    next: int
    root: str  # Merkle root over them, hex (pipeline.audit.merkle)


class CertifiedVoid(msgspec.Struct, frozen=True):
    """A decision to strike votes, and its end."""

    decision: Mapping[str, Any]  # the marker, as it stands in the log
    reinstated: Mapping[str, Any] | None


class Statement(msgspec.Struct, frozen=True):
    """What is certified. Instants are ms since the epoch."""

    format: int
    show_id: str
    poll_id: str
    topic: str
    issued_at: int
    issued_by: str  # name and version of the software
    rules: Mapping[str, Any]  # the opening marker
    closed_at: int
    counted: Mapping[str, int]  # votes by option
    struck: Mapping[str, int]  # those of them that voids deduct
    official: Mapping[str, int]  # the difference: the result
    outcomes: Mapping[str, int]  # of the poll's votes
    voids: Sequence[CertifiedVoid]
    partitions: Sequence[CertifiedRange]


class Certificate(msgspec.Struct, frozen=True):
    """A statement with its signature. The key is here for convenience: trust the one that you were given otherwise."""

    statement: Statement
    public_key: str  # 32 bytes, base64
    signature: str  # 64 bytes, base64


def certifiable(done: Audit) -> tuple[Poll, int]:
    """Give the poll of an audit that may be certified, and the instant of its close.

    Raises:
        PollError: it does not agree, the poll is not final, or Kafka has not all records any more since it was opened.
    """
    poll = done.poll
    if poll is None or not done.is_final or poll.closed_at is None:
        raise PollError("only a final result is certified: `airtally poll close`, then `airtally poll final`")
    if not done.agrees:
        raise PollError(
            f"the witnesses differ in {len(done.differences)} points, first: {done.differences[0]}. `airtally audit` has all"
        )
    if done.shortened:
        raise PollError(
            f"Kafka has {done.in_log:,} of {done.records:,} records, and of partitions {done.shortened} not all since the poll "
            "was opened: retention has deleted them, and what they were is the word of Redis and ClickHouse alone. Only what "
            "all three say is certified: certify before retention, and give the topic a longer one (retention.ms)"
        )
    return poll, poll.closed_at


def root_of_audited(log: LogWitness, archive: ArchiveWitness, leaves: Sequence[bytes]) -> bytes:
    """Give the root over a partition's leaves, which were asked for behind the audit: they are to be those that it saw.

    Raises:
        PollError: they are not.
    """
    expected = log.read[1] - log.read[0]
    if len(leaves) != expected or hashlib.sha256(b"".join(leaves)).digest() != archive.digest:
        raise PollError(
            f"partition {log.partition}: ClickHouse has {len(leaves)} records now, and they are not the {expected} that "
            "were audited. Nothing is certified: `airtally audit` says what is missing"
        )
    return root_of(leaves)


def statement_of(done: Audit, topic: str, roots: Mapping[int, bytes], issued_at: int, issued_by: str) -> Statement:
    """Make the statement of an audit.

    Raises:
        PollError: it may not be certified.
    """
    poll, closed_at = certifiable(done)
    outcomes: dict[str, int] = {}
    for ledger in done.ledgers:
        for outcome, number in ledger.poll_outcomes.items():
            outcomes[str(outcome)] = outcomes.get(str(outcome), 0) + number
    return Statement(
        format=FORMAT,
        show_id=poll.id.show_id,
        poll_id=poll.id.poll_id,
        topic=topic,
        issued_at=issued_at,
        issued_by=issued_by,
        rules=msgspec.to_builtins(poll.rules),
        closed_at=closed_at,
        counted=done.counted,
        struck=done.struck,
        official=done.official,
        outcomes=outcomes,
        voids=[
            CertifiedVoid(
                msgspec.to_builtins(void.decision),
                None if void.reinstated is None else msgspec.to_builtins(void.reinstated),
            )
            for void in done.voids
        ],
        partitions=[
            CertifiedRange(log.partition, *log.read, roots[log.partition].hex())  # what all three have answered for
            for log in done.log
        ],
    )


def signed_bytes(statement: Statement) -> bytes:
    """Give the bytes that are signed."""
    return orjson.dumps(msgspec.to_builtins(statement), option=orjson.OPT_SORT_KEYS)


def sign(statement: Statement, key: Ed25519PrivateKey) -> Certificate:
    """Sign."""
    return Certificate(
        statement,
        base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        base64.b64encode(key.sign(signed_bytes(statement))).decode(),
    )


def encode(certificate: Certificate) -> bytes:
    """Write a certificate as JSON for a file."""
    return orjson.dumps(msgspec.to_builtins(certificate), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read(content: bytes, trusted: Ed25519PublicKey | None) -> Certificate:
    """Read a certificate and check its signature, and that its own numbers fit each other.

    Args:
        content: the file.
        trusted: the key that must have signed; None: the one in the certificate, which then proves nothing of who signed.

    Raises:
        CertificateError: it is none, or not what was signed.
    """
    try:
        certificate = msgspec.json.decode(content, type=Certificate)
        named = Ed25519PublicKey.from_public_bytes(base64.b64decode(certificate.public_key, validate=True))
        signature = base64.b64decode(certificate.signature, validate=True)
    except (msgspec.DecodeError, ValueError) as error:
        raise CertificateError(f"this is not a certificate: {error}") from error
    statement = certificate.statement
    # The text itself is signed, not what was understood of it: a field that we do not know must not slip in.
    given = orjson.dumps(orjson.loads(content)["statement"], option=orjson.OPT_SORT_KEYS)
    try:
        (trusted or named).verify(signature, given)
    except InvalidSignature:
        whose = "the trusted key" if trusted else "the key in it"
        raise CertificateError(f"the signature does not fit: this text was not signed by {whose}") from None
    if certificate.public_key != base64.b64encode((trusted or named).public_bytes_raw()).decode():
        raise CertificateError("the key in the certificate is not the one that signed it: somebody changed it there")
    if given != signed_bytes(statement) or statement.format != FORMAT:
        raise CertificateError(f"the certificate is of another format than {FORMAT}: another airtally can read it")
    for option_id, votes in statement.counted.items():
        if statement.official.get(option_id) != votes - statement.struck.get(option_id, MAX_INSTANT_MS):
            raise CertificateError(f"the numbers of option {option_id} do not fit each other")
    return certificate


def new_key() -> tuple[bytes, str]:
    """Make a key; give it as PEM (PKCS 8, unencrypted), and its public half in base64."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, base64.b64encode(key.public_key().public_bytes_raw()).decode()


def load_key(pem: bytes) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        SettingError: it is none, or not an Ed25519 key.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise SettingError(f"the signing key cannot be read: {error}. Make one by `airtally keygen`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingError("the signing key is not an Ed25519 key: make one by `airtally keygen`")
    return key


def public_key(text: str) -> Ed25519PublicKey:
    """Read a public key: 32 bytes in base64, as `airtally keygen` prints it.

    Raises:
        SettingError: it is none.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise SettingError(f"{text!r} is not a public key (32 bytes, base64): {error}") from error
