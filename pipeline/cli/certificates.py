"""`airtally keygen`, `certify`, `verify`, `prove`: a result with a signature, and one vote's place in it."""

import os
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import orjson
import typer

from pipeline.audit import certificate as certificates
from pipeline.audit import proof as proofs
from pipeline.audit.leaf import leaves_of
from pipeline.audit.merkle import root_of
from pipeline.cli.audit import Poll, Show, Wait
from pipeline.cli.context import command, console, poll_id, settings, writable, write
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.errors import CertificateError, PollError, SettingError
from pipeline.log.reading import read_ranges
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.archive.digests import Appearance

Trusted = Annotated[
    str | None, typer.Option("--public-key", help="The key that must have signed (base64), as you were given it.")
]


@command
def keygen(file: Annotated[Path, typer.Argument(help="Where to write the private key (PEM).")]) -> None:
    """Make a key for certificates. Keep the file secret; publish the public half that is printed."""
    pem, public = certificates.new_key()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingError(f"{file} cannot be written ({error.strerror}): a key is never overwritten") from error
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(pem)
    console.print(f"private key: {file}\npublic key:  {public}", highlight=False, soft_wrap=True)


@command
async def certify(
    show: Show,
    poll: Poll,
    key: Annotated[Path, typer.Option(envvar="AIRTALLY_SIGNING_KEY", help="The private key, from `airtally keygen`.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: SHOW-POLL.certificate.json")] = None,
    wait: Wait = 30.0,
) -> None:
    """Audit a final result, and sign it: options, rules, outcomes, voids, and a hash over every record of the log.

    Refused while the poll is not final, when Kafka, Redis and ClickHouse do not agree, and when retention has deleted records
    since its opening from Kafka's log.
    """
    from pipeline.archive.digests import leaves  # noqa: PLC0415  # slow to import, see services
    from pipeline.cli.auditing import run_audit  # noqa: PLC0415

    found, name = settings(), poll_id(show, poll)
    signing = certificates.load_key(_read(key))
    file = writable(out or Path(f"{show}-{poll}.certificate.json"))
    done = await run_audit(found, name, wait)
    certificates.certifiable(done)  # before all records are hashed once more
    roots = {
        log.partition: certificates.root_of_audited(log, archive, await leaves(found, log.partition, log.read))
        for log, archive in zip(done.log, done.archive, strict=True)
    }
    statement = certificates.statement_of(done, found.topic, roots, now_ms(), f"airtally {version('airtally')}")
    write(file, certificates.encode(certificates.sign(statement, signing)))
    console.print(f"certified: {_result(statement)}\n{file}", highlight=False, soft_wrap=True)


@command
async def verify(
    certificate: Annotated[Path, typer.Argument(help="The certificate.")],
    *,
    public_key: Trusted = None,
    proof: Annotated[Path | None, typer.Option(help="A proof of one vote, from `airtally prove`.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Also hash the records again: from `clickhouse` or from `kafka`.")
    ] = None,
) -> None:
    """Check a certificate: its signature, and if asked for, one vote's proof or the log's own bytes.

    Only the last of these needs a server. Exit status 0 only if everything that was asked for holds.
    """
    trusted = None if public_key is None else certificates.public_key(public_key)
    read = certificates.read(_read(certificate), trusted)
    statement = read.statement
    console.print(
        f"signed by {read.public_key}"
        + ("" if trusted else ", the key in the certificate: compare it with the published one"),
        highlight=False,
        soft_wrap=True,
    )
    if proof is not None:
        given = _proof(_read(proof))
        proofs.check(given, statement)
        console.print(
            f"included: offset {given.offset} of partition {given.partition}: {given.record()!r}", markup=False
        )
    if against is not None:
        await _check_roots(_its_log(statement), statement, against)
    console.print(f"[bold green]HOLDS[/]: {_result(statement)}", highlight=False, soft_wrap=True)


@command
async def prove(
    show: Show,
    poll: Poll,
    vote_id: Annotated[str, typer.Argument(help="The vote's id, a UUID.")],
    certificate: Annotated[Path, typer.Option(help="The poll's certificate, which the proof is for.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it. Default: VOTE_ID.proof.json")] = None,
) -> None:
    """Say what became of a vote, each time that it came, and prove that it is in the certified log.

    The proof holds the vote's own record and some twenty hashes, nothing of other votes. `airtally verify CERTIFICATE --proof
    FILE` checks it, without any server.
    """
    from pipeline.archive.digests import appearances, leaves, records_at  # noqa: PLC0415  # slow to import, see services

    name, wanted = poll_id(show, poll), _uuid(vote_id)
    statement = certificates.read(_read(certificate), None).statement
    file = writable(out or Path(f"{vote_id}.proof.json"))
    found = _its_log(statement)
    if PollId(statement.show_id, statement.poll_id) != name:
        raise SettingError(f"{certificate} is the certificate of {statement.show_id}/{statement.poll_id}")
    places = await appearances(found, show, poll, wanted)
    if not places:
        raise PollError(f"no record of {show}/{poll} carries the vote id {vote_id}")
    for place in places:
        console.print(f"partition {place.partition}, offset {place.offset}: {place.outcome}", highlight=False)
    place, certified = _certified(places, statement)
    hashes = await leaves(found, place.partition, (certified.first, certified.next))
    _check_root(certified, hashes, "clickhouse")
    record = await records_at(found, place.partition, (place.offset, place.offset + 1))
    made = proofs.prove(record, hashes, certified.first)
    proofs.check(made, statement)
    write(file, orjson.dumps(msgspec.to_builtins(made), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    console.print(f"proof: {file}", highlight=False, soft_wrap=True)


def _its_log(statement: certificates.Statement) -> Settings:
    """Give the settings with the topic that was certified, whatever this shell's is."""
    return settings().model_copy(update={"topic": statement.topic})


async def _check_roots(found: Settings, statement: certificates.Statement, against: str) -> None:
    ranges = {each.partition: (each.first, each.next) for each in statement.partitions}
    if against == "clickhouse":
        from pipeline.archive.digests import leaves  # noqa: PLC0415  # slow to import, see services

        hashes = {partition: await leaves(found, partition, wanted) for partition, wanted in ranges.items()}
    elif against == "kafka":
        hashes = {partition: [] for partition in ranges}
        async for batch in read_ranges(found, ranges):
            hashes[batch.partition] += leaves_of(batch)
    else:
        raise SettingError(f"--against {against!r}: give clickhouse or kafka")
    for each in statement.partitions:
        _check_root(each, hashes[each.partition], against)
    records = sum(map(len, hashes.values()))
    console.print(f"{records:,} records in {against} are those that were certified", highlight=False)


def _check_root(certified: certificates.CertifiedRange, hashes: list[bytes], source: str) -> None:
    if root_of(hashes).hex() != certified.root:
        raise CertificateError(
            f"partition {certified.partition}: the records in {source} at offsets {certified.first} to {certified.next - 1} "
            "are not those that were certified"
        )


def _certified(
    places: "list[Appearance]", statement: certificates.Statement
) -> "tuple[Appearance, certificates.CertifiedRange]":
    """Choose the record to prove, among those that the certificate is about: the one that counted, or else the first.

    Raises:
        PollError: none is: a vote may come into the log behind the certificate.
    """
    ranges = {each.partition: each for each in statement.partitions}
    within = [each for each in places if (of := ranges.get(each.partition)) and of.first <= each.offset < of.next]
    if not within:
        outside = ", ".join(_outside(each, ranges.get(each.partition)) for each in places)
        raise PollError(f"this vote is not among what was certified: {outside}")
    chosen = next((each for each in within if each.outcome == "counted"), within[0])
    return chosen, ranges[chosen.partition]


def _outside(place: "Appearance", certified: certificates.CertifiedRange | None) -> str:
    where = f"offset {place.offset} of partition {place.partition}"
    if certified is None:
        return f"{where}, of which nothing was"
    return f"{where} came {'before' if place.offset < certified.first else 'after'} it"


def _result(statement: certificates.Statement) -> str:
    votes = ", ".join(f"{option} {number:,}" for option, number in statement.official.items())
    struck = sum(statement.struck.values())
    return f"{statement.show_id}/{statement.poll_id}: {votes}" + (f" ({struck:,} struck)" if struck else "")


def _proof(content: bytes) -> proofs.Proof:
    try:
        return msgspec.json.decode(content, type=proofs.Proof)
    except msgspec.DecodeError as error:
        raise CertificateError(f"this is not a proof: {error}") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingError(f"{file} cannot be read: {error.strerror}") from error


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise SettingError(f"VOTE_ID {text!r} is not a UUID") from None
