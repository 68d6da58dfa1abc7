"""What a viewer's vote is before it is a record: as a program gives it, and as it stands in the body of a request."""

import re
from typing import Annotated

import msgspec

from pipeline.domain.record import MAX_INSTANT_MS, Id, is_id
from pipeline.errors import AirtallyError

MAX_VOTER = 256  # characters of a raw identity
MAX_BALLOTS = 500  # in one request

_UUID = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_is_uuid = re.compile(_UUID).fullmatch

VoteId = Annotated[str, msgspec.Meta(pattern=rf"^{_UUID}\Z")]
Voter = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_VOTER)]
Instant = Annotated[int, msgspec.Meta(ge=0, le=MAX_INSTANT_MS)]


class BallotError(AirtallyError):
    """A ballot that would not be a valid vote; nothing of it was published."""


class Ballot(msgspec.Struct, frozen=True, kw_only=True):
    """A vote as an edge has it from a viewer."""

    vote_id: str  # a UUID as text, made by the viewer's client; the same on each retry
    show_id: str
    poll_id: str
    option_id: str
    voter: str  # who it is: an account, a token's subject. It never leaves the process
    channel: str = "web"
    cast_at: int | None = None  # ms since the epoch; None: now

    def check(self) -> None:
        """Make sure that this is going to be a valid vote.

        Raises:
            BallotError: it is not; the text names the field. It never shows the voter.
        """
        for name in ("show_id", "poll_id", "option_id", "channel"):
            if not is_id(getattr(self, name)):
                raise BallotError(
                    f"{name} {getattr(self, name)!r} is not an id: 1 to 63 of a-z, 0-9 and -, not beginning with -"
                )
        if _is_uuid(self.vote_id) is None:
            raise BallotError(f"vote_id {self.vote_id!r} is not a UUID like 01234567-89ab-4cde-8f01-23456789abcd")
        if not 1 <= len(self.voter) <= MAX_VOTER or not _is_text(self.voter):
            raise BallotError(f"voter is not a text of 1 to {MAX_VOTER} characters")
        if self.cast_at is not None and not 0 <= self.cast_at <= MAX_INSTANT_MS:
            raise BallotError(f"cast_at {self.cast_at} is not an instant in ms since the epoch")


class PostedBallot(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A vote in a viewer's request; show and poll are in its path."""

    vote_id: VoteId
    option_id: Id
    voter: Voter
    channel: Id = "web"


class ForwardedBallot(PostedBallot, frozen=True, gc=False, forbid_unknown_fields=True):
    """A vote that another edge has received, at an instant that only it knows."""

    cast_at: Instant | None = None  # None: now


def _is_text(text: str) -> bool:
    """Tell whether a text can be written: Python's may hold halves of characters."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)
