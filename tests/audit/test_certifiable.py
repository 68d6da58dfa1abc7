"""What may be certified: a final poll, of which all three witnesses say the same of every record."""

import hashlib

import pytest
from msgspec.structs import replace

from pipeline.audit.certificate import Statement, root_of_audited, statement_of
from pipeline.audit.compare import Audit
from pipeline.audit.merkle import root_of
from pipeline.domain.record import Marker, VotesReinstated, VotesVoided
from pipeline.errors import PollError

from .agreeing import BASE, NEXT, OPENED, audit_of, final_poll, leaves_of

ROOTS = {partition: root_of(leaves_of(partition)) for partition in range(3)}

OURS = VotesVoided("finale", "song", "leak", "its token was published", "Ada", edge_ids=("edge-1",))
THEIRS = VotesVoided("finale", "song", "leak", "its token was published", "Ada", edge_ids=("edge-2",))
BACK = VotesReinstated("finale", "song", "leak", "a mistake", "Ada")


Markers = tuple[Marker, ...]


def stated(done: Audit) -> Statement:
    return statement_of(done, "votes", ROOTS, 1, "airtally")


def test_what_agrees_is_stated() -> None:
    statement = stated(audit_of(final_poll(), final_poll()))
    assert statement.official == {"ada": 2, "bo": 2}
    assert [(each.first, each.next) for each in statement.partitions] == [(BASE, NEXT)] * 2


def test_what_came_before_the_poll_was_opened_may_be_gone() -> None:
    done = audit_of(final_poll(), final_poll(), log_begin=OPENED)
    assert (done.records, done.in_log, done.shortened) == (12, 10, [])
    assert [(each.first, each.next) for each in stated(done).partitions] == [(OPENED, NEXT)] * 2


@pytest.mark.parametrize("log_begin", [OPENED + 1, NEXT, NEXT + 3])
def test_records_that_kafka_has_not_any_more_are_not_certified(log_begin: int) -> None:
    done = audit_of(final_poll(), final_poll(), log_begin=log_begin)
    assert done.agrees, list(map(str, done.differences))
    assert (done.records, done.in_log, done.shortened) == (12, 2 * max(0, NEXT - log_begin), [0, 1])
    with pytest.raises(PollError, match=r"of partitions \[0, 1\] not all since"):
        stated(done)


def test_the_root_is_that_of_the_audited_leaves_and_no_others() -> None:
    done = audit_of(final_poll())
    (log,), (archive,), leaves = done.log, done.archive, leaves_of(0)
    assert root_of_audited(log, archive, leaves) == ROOTS[0]
    others: tuple[list[bytes], ...] = (
        leaves[:-1],
        leaves[1:],
        [*leaves, leaves[0]],
        [*leaves[:-1], hashlib.sha256().digest()],
        leaves[::-1],
        [],
    )
    for given in others:
        with pytest.raises(PollError, match="not the 6 that were audited"):
            root_of_audited(log, archive, given)


def test_a_void_that_is_the_same_everywhere_is_stated_once() -> None:
    done = audit_of(final_poll(OURS), final_poll(OURS))
    assert done.agrees
    assert [void.decision["edge_ids"] for void in stated(done).voids] == [("edge-1",)]


WRONG_VOIDS = {
    "another decision": ((OURS,), (THEIRS,), r"leak is another decision in partitions \[1\]"),
    "other words": ((OURS,), (replace(OURS, reason="x"),), r"leak is another decision in partitions \[1\]"),
    "not everywhere": ((OURS,), (), r"void leak is not in partitions \[1\]"),
    "not taken back everywhere": ((OURS,), (OURS, BACK), r"end of void leak is not in partitions \[0\]"),
}


@pytest.mark.parametrize(("one", "other", "what"), WRONG_VOIDS.values(), ids=WRONG_VOIDS)
def test_a_void_that_differs_is_one_difference_and_not_certified(one: Markers, other: Markers, what: str) -> None:
    done = audit_of(final_poll(*one), final_poll(*other))
    assert [difference.partition for difference in done.differences] == [None]
    with pytest.raises(PollError, match=what):
        stated(done)


def test_one_that_is_taken_back_everywhere_strikes_nothing_and_is_stated_in_each_form() -> None:
    other = replace(BACK, reason="two senders")
    done = audit_of(final_poll(OURS, BACK), final_poll(THEIRS, other), final_poll())
    assert done.agrees, list(map(str, done.differences))
    assert list(done.voids.values()) == [[0], [1]]
    said = [(void.decision["edge_ids"], void.reinstated and void.reinstated["reason"]) for void in stated(done).voids]
    assert said == [(("edge-1",), "a mistake"), (("edge-2",), "two senders")]
