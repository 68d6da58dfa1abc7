"""The certificate: what it says is what was signed, by whom it was signed, or it is refused."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.audit import certificate as certificates
from pipeline.audit import proof as proofs
from pipeline.audit.certificate import CertifiedRange, CertifiedVoid, Statement
from pipeline.audit.leaf import leaves_of
from pipeline.audit.merkle import root_of
from pipeline.errors import CertificateError, SettingError

from .test_leaf import records

BATCH = records()
FIRST, NEXT = BATCH.first_offset, BATCH.next_offset
STATEMENT = Statement(
    format=certificates.FORMAT,
    show_id="finale",
    poll_id="song",
    topic="votes",
    issued_at=1_767_298_600_000,
    issued_by="airtally 0.1.0",
    rules={"type": "poll.opened", "options": [{"id": "ada", "label": "Ada \u00e9 \U0001f3a4"}, {"id": "bo"}]},
    closed_at=1_767_298_500_000,
    counted={"ada": 30, "bo": 12},
    struck={"ada": 2, "bo": 0},
    official={"ada": 28, "bo": 12},
    outcomes={"counted": 42},
    voids=[CertifiedVoid({"type": "votes.voided", "void_id": "leak"}, None)],
    partitions=[CertifiedRange(3, FIRST, NEXT, root_of(leaves_of(BATCH)).hex())],
)
KEY = Ed25519PrivateKey.generate()
SIGNED = certificates.encode(certificates.sign(STATEMENT, KEY))

Change = Callable[[dict[str, Any]], object]


def test_a_certificate_is_read_as_it_was_signed() -> None:
    for trusted in (None, KEY.public_key()):
        assert certificates.read(SIGNED, trusted).statement == STATEMENT


def test_anybody_can_check_it_with_a_few_lines() -> None:
    """As ``deploy/certificate.md`` tells it, with nothing of ours."""
    certificate = json.loads(SIGNED)
    text = json.dumps(certificate["statement"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    KEY.public_key().verify(base64.b64decode(certificate["signature"]), text.encode())


CHANGES: dict[str, Change] = {
    "one vote more": lambda c: c["statement"]["official"].update(ada=29),
    "another poll": lambda c: c["statement"].update(poll_id="semi"),
    "another root": lambda c: c["statement"]["partitions"][0].update(root="00" * 32),
    "a void less": lambda c: c["statement"]["voids"].clear(),
    "a field more": lambda c: c["statement"].update(note="x"),
    "a field less": lambda c: c["statement"].pop("closed_at"),
    "another signature": lambda c: c.update(signature=base64.b64encode(bytes(64)).decode()),
    "another key": lambda c: c.update(public_key=base64.b64encode(bytes(range(32))).decode()),
    "no key": lambda c: c.update(public_key="none"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_is_noticed(change: Change) -> None:
    certificate = json.loads(SIGNED)
    change(certificate)
    with pytest.raises(CertificateError):
        certificates.read(json.dumps(certificate).encode(), None)


def test_numbers_that_do_not_fit_are_not_believed_even_if_signed() -> None:
    wrong = msgspec.structs.replace(STATEMENT, official={"ada": 30, "bo": 12})
    with pytest.raises(CertificateError, match="option ada"):
        certificates.read(certificates.encode(certificates.sign(wrong, KEY)), None)


def test_somebody_else_cannot_sign() -> None:
    forged = certificates.encode(certificates.sign(STATEMENT, Ed25519PrivateKey.generate()))
    certificates.read(forged, None)  # whole, but by whom?
    with pytest.raises(CertificateError, match="not signed by the trusted key"):
        certificates.read(forged, KEY.public_key())


def test_it_names_the_key_that_signed_it_and_no_other() -> None:
    """The key in it is not signed, and is what `airtally verify` prints."""
    _, other = certificates.new_key()
    forged = SIGNED.replace(base64.b64encode(KEY.public_key().public_bytes_raw()), other.encode())
    with pytest.raises(CertificateError, match="not the one that signed"):
        certificates.read(forged, KEY.public_key())
    with pytest.raises(CertificateError, match="not signed by the key in it"):
        certificates.read(forged, None)


def test_every_record_has_a_proof_and_no_other() -> None:
    leaves = leaves_of(BATCH)
    for index in range(0, len(BATCH), 7):
        proof = proofs.prove(BATCH.since(FIRST + index), leaves, FIRST)
        proofs.check(proof, STATEMENT)
        for change in (
            {"offset": proof.offset + 1},
            {"append_time": 1},
            {"key": "eA=="},
            {"value": "eA=="},
            {"size": 3},
        ):
            with pytest.raises(CertificateError):
                proofs.check(msgspec.structs.replace(proof, **change), STATEMENT)


@pytest.mark.parametrize("broken", ["eA", "eA==!", "e A==", "\u00e9", "="])
def test_a_proof_whose_record_is_not_base64_is_refused(broken: str) -> None:
    proof = proofs.prove(BATCH, leaves_of(BATCH), FIRST)
    for change in ({"key": broken}, {"value": broken}, {"headers": [("a", broken)]}):
        with pytest.raises(CertificateError, match="not base64"):
            proofs.check(msgspec.structs.replace(proof, **change), STATEMENT)


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none(pem: bytes) -> None:
    with pytest.raises(SettingError, match="keygen"):
        certificates.load_key(pem)


def test_a_made_key_can_be_loaded() -> None:
    pem, public = certificates.new_key()
    key = certificates.load_key(pem)
    certificate = certificates.sign(STATEMENT, key)
    assert certificate.public_key == public
    certificates.read(certificates.encode(certificate), certificates.public_key(public))
