"""What a viewer's vote is before it is a record: as a program gives it, and as it stands in the body of a request."""

import re
from typing import Annotated

import msgspec

from pipeline.domain.record import ID, MAX_AGE_MS, MAX_AHEAD_MS, MAX_INSTANT_MS, Id, is_id
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


class ForwardedBallot(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A vote that another edge has received, at an instant that only it knows. ``read_forwarded`` checks its ids."""

    vote_id: str
    option_id: str
    voter: Voter
    channel: str = "web"
    cast_at: Instant | None = None  # None: now


class _CheckedBallot(PostedBallot, frozen=True, gc=False, forbid_unknown_fields=True):
    """The same, of which msgspec checks each id by itself: that takes as long as all else, but tells which is wrong."""

    cast_at: Instant | None = None


read_posted = msgspec.json.Decoder(PostedBallot).decode
_read = msgspec.json.Decoder(list[ForwardedBallot] | ForwardedBallot).decode
_read_checked = msgspec.json.Decoder(list[_CheckedBallot] | _CheckedBallot).decode
_are_ids = re.compile(rf"(?:{_UUID} {ID} {ID}\n)*+").fullmatch


def read_forwarded(body: bytes | str) -> list[ForwardedBallot]:
    """Read the votes, one or many, of an edge in front.

    Raises:
        msgspec.ValidationError: one of them is none; the text says which, and names the field.
        msgspec.DecodeError: this is no JSON.
    """
    read = _read(body)
    ballots = [read] if isinstance(read, ForwardedBallot) else read
    ids = "".join([f"{ballot.vote_id} {ballot.option_id} {ballot.channel}\n" for ballot in ballots])
    # A text with more lines than ballots has some in an id.
    if _are_ids(ids) is None or ids.count("\n") != len(ballots):
        _read_checked(body)
        raise msgspec.ValidationError("ids are not as they must be")
    return ballots


def why_implausible(cast_at: int, now: int, within_s: float) -> str | None:
    """Say why a vote cast at an instant would be implausible (rule 7) if it were appended within such a time from now."""
    most_age_ms = MAX_AGE_MS - round(1000 * within_s)
    if now - most_age_ms <= cast_at <= now + MAX_AHEAD_MS:
        return None
    return f"cast_at {cast_at} is not now, which is {now}: at most {most_age_ms} ms before, and {MAX_AHEAD_MS} after"


def _is_text(text: str) -> bool:
    """Tell whether a text can be written: Python's may hold halves of characters."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)
