"""Three witnesses who agree on a final poll, a partition for each state of it that is given."""

import hashlib

from pipeline.audit.compare import Audit, audit
from pipeline.audit.witness import ArchiveWitness, LedgerWitness, LogWitness, PollRecount
from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll, apply_marker, open_poll
from pipeline.domain.record import Marker, Option, PollClosed, PollFinal, PollOpened

OPENED_AT = 1_767_297_600_000
RULES = PollOpened("finale", "song", OPENED_AT, (Option("ada"), Option("bo")))
BASE, OPENED, NEXT = 7, 8, 13  # a marker of another poll, the opening one, two votes, the close, the final marker


def final_poll(*markers: Marker) -> Poll:
    """Give the poll as a partition has it that ends with these markers."""
    poll = open_poll(RULES)
    for marker in (PollClosed("finale", "song", OPENED_AT + 9_000), PollFinal("finale", "song"), *markers):
        poll = apply_marker(poll, marker) or poll
    return poll


def leaves_of(partition: int) -> list[bytes]:
    """Give the hashes of a partition's records."""
    return [hashlib.sha256(b"\0%d:%d" % (partition, offset)).digest() for offset in range(BASE, NEXT)]


def audit_of(*polls: Poll, log_begin: int = BASE) -> Audit:
    """Compare what they say; Kafka's log begins at `log_begin`."""
    log, ledgers, archive = [], [], []
    outcomes = {Outcome.COUNTED: 2, Outcome.MARKER: NEXT - BASE - 2}
    counted, cells = {Outcome.COUNTED: 2}, {Cell("ada", OPENED_AT): 1, Cell("bo", OPENED_AT): 1}
    for partition, poll in enumerate(polls):
        read = (first := max(BASE, log_begin), max(first, NEXT))
        digest = hashlib.sha256(b"".join(leaves_of(partition)[read[0] - BASE :])).digest()
        markers = {"poll.opened": [OPENED], "poll.closed": [NEXT - 2], "poll.final": [NEXT - 1]}
        log.append(LogWitness(partition, log_begin, NEXT, read, digest, markers))
        totals = {"ada": 1, "bo": 1}
        ledgers.append(LedgerWitness(partition, BASE, NEXT, outcomes, poll, totals, counted, cells))
        in_force = [void.decision.void_id for void in poll.voids if void.in_force]
        recount = PollRecount(OPENED, OPENED_AT, ["ada", "bo"], 1, 0, NEXT - 2, poll.closed_at, NEXT - 1, in_force)
        archive.append(
            ArchiveWitness(partition, NEXT - BASE, NEXT - BASE, (), digest, outcomes, recount, counted, cells, {})
        )
    return audit(log, ledgers, archive, [])
