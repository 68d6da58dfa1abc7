"""A poll as one partition of the log has seen it so far. Its markers move it one way: open, closing, final."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from pipeline.domain.record import (
    MAX_INSTANT_MS,
    Marker,
    PollClosed,
    PollFinal,
    PollOpened,
    VotesReinstated,
    VotesVoided,
)
from pipeline.domain.void import Void, apply_void

NEVER = MAX_INSTANT_MS + 1  # later than any cast_at


class PollId(NamedTuple):
    """A poll's name: ids are unique within their show."""

    show_id: str
    poll_id: str


class Status(StrEnum):
    """How far a poll has come."""

    OPEN = "open"
    CLOSING = "closing"  # its end is announced or past; votes cast in time may still arrive
    FINAL = "final"


class Poll(msgspec.Struct, frozen=True):
    """The state of a poll in one partition: a function of the markers (and, for `epoch`, the votes) before an offset."""

    rules: PollOpened
    option_ids: frozenset[str]
    closed_at: int | None = None  # ms since the epoch
    final: bool = False
    epoch: int = 0  # the latest epoch of vote ids that are remembered, if the poll has a dedupe horizon
    voids: tuple[Void, ...] = ()  # in the order of the log; none of them decides an outcome

    @property
    def id(self) -> PollId:
        """Show and poll."""
        return PollId(self.rules.show_id, self.rules.poll_id)

    @property
    def status(self) -> Status:
        """How far it has come."""
        if self.final:
            return Status.FINAL
        return Status.OPEN if self.closed_at is None else Status.CLOSING

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs of vote ids that a later vote can meet."""
        return (self.epoch - 1, self.epoch) if self.epoch else (0,)

    @property
    def ends_at(self) -> int:
        """The instant from which a vote's `cast_at` is late: none is far ahead, and in a final poll all are."""
        if self.final:
            return 0
        return NEVER if self.closed_at is None else self.closed_at


def open_poll(rules: PollOpened) -> Poll:
    """Begin a poll."""
    return Poll(rules=rules, option_ids=frozenset(option.id for option in rules.options))


def apply_marker(poll: Poll | None, marker: Marker) -> Poll | None:
    """Move a poll by a marker of its own. A marker that repeats or contradicts what came before changes nothing.

    The first opening holds, the first close of an open poll holds, and only a closed poll becomes final: so sending a
    marker twice is harmless, and what a partition makes of its markers depends on their order in it alone. Voids may come
    at any time after the opening, also after the end.
    """
    match marker:
        case PollOpened():
            return open_poll(marker) if poll is None else poll
        case PollClosed(closed_at=closed_at):
            if poll is None or poll.closed_at is not None or closed_at < poll.rules.opened_at:
                return poll
            return msgspec.structs.replace(poll, closed_at=closed_at)
        case PollFinal():
            if poll is None or poll.closed_at is None or poll.final:
                return poll
            return msgspec.structs.replace(poll, final=True)
        case VotesVoided() | VotesReinstated():
            return None if poll is None else _with_voids(poll, apply_void(poll.voids, marker))


def _with_voids(poll: Poll, voids: tuple[Void, ...]) -> Poll:
    return poll if voids == poll.voids else msgspec.structs.replace(poll, voids=voids)
