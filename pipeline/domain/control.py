"""Which marker a command may send, given what the partitions have seen: pure decisions of the producer's commands.

Markers are idempotent, but only when they are the same: so a command that finds its work half done (a sender died
between two partitions) sends what was sent before, never a second instant.
"""

import msgspec

from pipeline.domain.poll import Status
from pipeline.domain.record import PollClosed, PollFinal, PollOpened, VotesReinstated, VotesVoided
from pipeline.domain.result import Result
from pipeline.domain.void import Void
from pipeline.errors import PollError


def opening(result: Result | None, wanted: PollOpened) -> PollOpened:
    """Give the opening marker to send.

    Raises:
        PollError: the poll is there already with other rules, or is over.
    """
    if result is None:
        return wanted
    name = "/".join(result.poll_id)
    if result.status is not Status.OPEN or result.closed_at is not None:
        raise PollError(
            f"{name} is {result.status} already: a closed poll is not opened again, the next vote is a new poll"
        )
    if msgspec.structs.replace(result.rules, opened_at=wanted.opened_at) != wanted:
        raise PollError(
            f"{name} is open already with other rules: {msgspec.json.encode(result.rules).decode()}. "
            "Rules do not change while a poll is open; take another poll id"
        )
    return result.rules


def closing(result: Result | None, wanted: PollClosed) -> PollClosed:
    """Give the closing marker to send.

    Raises:
        PollError: the poll is not open, or the instant lies before its opening.
    """
    opened = _known(result, wanted.show_id, wanted.poll_id)
    if opened.closed_at is not None:
        return msgspec.structs.replace(wanted, closed_at=opened.closed_at)
    if wanted.closed_at < opened.rules.opened_at:
        raise PollError(f"closed_at {wanted.closed_at} lies before opened_at {opened.rules.opened_at}")
    return wanted


def finalising(result: Result | None, wanted: PollFinal, now_ms: int) -> PollFinal:
    """Give the final marker to send.

    Raises:
        PollError: the poll is not closed in every partition, or its end is still ahead.
    """
    opened = _known(result, wanted.show_id, wanted.poll_id)
    name = "/".join(opened.poll_id)
    if opened.status is Status.OPEN:
        raise PollError(
            f"{name} is not closed in every partition: send `airtally poll close {' '.join(opened.poll_id)}` first"
        )
    if opened.closed_at is not None and now_ms < opened.closed_at:
        raise PollError(f"{name} takes votes until {opened.closed_at}, it is {now_ms}")
    return wanted


def voiding(result: Result | None, wanted: VotesVoided) -> VotesVoided:
    """Give the void to send.

    Raises:
        PollError: there is no such poll, or its name stands for another decision already, be it in one partition.
    """
    voids = _voids_of(_known(result, wanted.show_id, wanted.poll_id), wanted.void_id)
    for void in voids:
        if void.decision != wanted:
            raise PollError(
                f"void {wanted.void_id} is decided already, with other words or conditions: "
                f"{msgspec.json.encode(void.decision).decode()}. Give this one another id"
            )
    if any(not void.in_force for void in voids):
        raise PollError(f"void {wanted.void_id} was taken back, for good: give this one another id")
    return wanted


def reinstating(result: Result | None, wanted: VotesReinstated) -> VotesReinstated:
    """Give the end of a void to send.

    Raises:
        PollError: there is no such poll or void, or it was taken back with other words.
    """
    voids = _voids_of(_known(result, wanted.show_id, wanted.poll_id), wanted.void_id)
    if not voids:
        raise PollError(f"there is no void {wanted.void_id} in {wanted.show_id}/{wanted.poll_id}")
    ends = [void.reinstated for void in voids if not void.in_force]
    if ends and wanted not in ends:
        raise PollError(f"void {wanted.void_id} was taken back already: {msgspec.json.encode(ends[0]).decode()}")
    return wanted


def _voids_of(result: Result, void_id: str) -> list[Void]:
    """Give a void as each partition has it that knows it: a sender may have died between two, or another have been there."""
    return [
        void
        for reading in result.partitions
        if reading.poll is not None
        for void in reading.poll.voids
        if void.decision.void_id == void_id
    ]


def _known(result: Result | None, show_id: str, poll_id: str) -> Result:
    if result is None:
        raise PollError(
            f"no partition knows the poll {show_id}/{poll_id}: open it by `airtally poll open`, "
            "or wait until the tally has caught up (its /readyz tells)"
        )
    return result
