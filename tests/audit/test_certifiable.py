"""What may be certified: a final poll, of which all three witnesses say the same of every record."""

import hashlib

import pytest

from pipeline.audit.certificate import Statement, root_of_audited, statement_of
from pipeline.audit.compare import Audit
from pipeline.audit.merkle import root_of
from pipeline.errors import PollError

from .agreeing import BASE, NEXT, audit_of, final_poll, leaves_of

ROOTS = {partition: root_of(leaves_of(partition)) for partition in (0, 1)}


def stated(done: Audit) -> Statement:
    return statement_of(done, "votes", ROOTS, 1, "airtally")


def test_what_agrees_is_stated() -> None:
    statement = stated(audit_of(final_poll(), final_poll()))
    assert statement.official == {"ada": 2, "bo": 2}
    assert [(each.first, each.next) for each in statement.partitions] == [(BASE, NEXT)] * 2


@pytest.mark.parametrize("log_begin", [BASE + 1, NEXT, NEXT + 3])
def test_records_that_kafka_has_not_any_more_are_not_certified(log_begin: int) -> None:
    done = audit_of(final_poll(), final_poll(), log_begin=log_begin)
    assert done.agrees, list(map(str, done.differences))
    assert (done.records, done.in_log, done.shortened) == (10, 2 * max(0, NEXT - log_begin), [0, 1])
    with pytest.raises(PollError, match=r"not all of partitions \[0, 1\]: retention"):
        stated(done)


def test_the_root_is_that_of_the_audited_leaves_and_no_others() -> None:
    done = audit_of(final_poll())
    (ledger,), (archive,), leaves = done.ledgers, done.archive, leaves_of(0)
    assert root_of_audited(ledger, archive, leaves) == ROOTS[0]
    others: tuple[list[bytes], ...] = (
        leaves[:-1],
        leaves[1:],
        [*leaves, leaves[0]],
        [*leaves[:-1], hashlib.sha256().digest()],
        leaves[::-1],
        [],
    )
    for given in others:
        with pytest.raises(PollError, match="not the 5 that were audited"):
            root_of_audited(ledger, archive, given)
