"""Records on the topic `votes`: from bytes to a vote, a marker, or nothing (malformed).

What is valid JSON is what RFC 8259 says, read strictly: UTF-8 without a byte order mark, no lone surrogates, numbers that
fit a double, nesting limited. Where a key stands twice, the last one holds. ClickHouse decides the same with a parser
of its own (``schemas/clickhouse``), and tests hold the two to each other; the JSON Schemas in ``schemas/json`` say the
same to publishers.
"""

import re
import string
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple

import msgspec
import orjson
from msgspec import UNSET, UnsetType

MAX_VALUE_BYTES = (
    131_072  # a longer value is malformed: a vote has some 250 bytes, the largest opening marker some 100,000
)
MAX_BRACKETS = 512  # more "{" and "[" in a value than this is malformed: it bounds nesting in the same way everywhere
MAX_OPTIONS = 100
MAX_VOTERS = 1000  # that one void names; more are more voids
VOTER_CHARACTERS = (string.ascii_letters + string.digits + "_-").encode()
VOTE_ID_BYTES = 16
MAX_INSTANT_MS = 2**53 - 1  # what every JSON reader keeps exactly
MAX_AGE_MS = 60_000  # a vote cast longer than this before its append time is implausible
MAX_AHEAD_MS = 5_000  # and one cast further than this after it

ID = r"[a-z0-9][a-z0-9-]{0,62}"
_VOTER = r"[A-Za-z0-9_-]{1,64}"
_VOTE = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"

_is_id = re.compile(ID).fullmatch
_are_ids = re.compile(rf"{_VOTE} {_VOTER}(?: {ID}){{5}}").fullmatch  # of a vote

Id = Annotated[str, msgspec.Meta(pattern=rf"^{ID}\Z")]
Instant = Annotated[int, msgspec.Meta(ge=0, le=MAX_INSTANT_MS)]  # integer milliseconds since the epoch
VoterId = Annotated[str, msgspec.Meta(pattern=rf"^{_VOTER}\Z")]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Author = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Colour = Annotated[str, msgspec.Meta(pattern=r"^#[0-9A-Fa-f]{6}\Z")]


class Vote(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="vote", forbid_unknown_fields=True):
    """One vote. One with further fields is as good: it only takes the longer way through ``decode``.

    Its ids are checked by ``decode``, in a single match: msgspec would take five times as long.
    """

    vote_id: str  # a UUID as text, in either case, made by the viewer's client; the same on each retry
    show_id: str
    poll_id: str
    option_id: str
    voter_id: str  # a pseudonym
    cast_at: Instant
    edge_id: str
    channel: str


class Kind(NamedTuple):
    """What a vote is for, and where it comes from: in a batch there are few of these, so each is looked at once."""

    show_id: str
    poll_id: str
    option_id: str
    edge_id: str
    channel: str


kind_of: Callable[[Vote], tuple[str, ...]] = attrgetter(*Kind._fields)  # as a plain tuple, which is made sooner


class Option(msgspec.Struct, frozen=True):
    """One option of a poll. Label and colour are for the display, and are any text: escape them."""

    id: Id
    label: Label | None = None
    color: Colour | None = None


class PollOpened(msgspec.Struct, frozen=True, tag_field="type", tag="poll.opened"):
    """A poll begins, with its rules. They do not change afterwards."""

    show_id: Id
    poll_id: Id
    opened_at: Instant
    options: Annotated[tuple[Option, ...], msgspec.Meta(min_length=1, max_length=MAX_OPTIONS)]
    votes_per_voter: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    window_ms: Literal[1000] = 1000
    dedupe_horizon_ms: Annotated[int, msgspec.Meta(ge=1000, le=MAX_INSTANT_MS)] | None = None

    def __post_init__(self) -> None:
        if len({option.id for option in self.options}) != len(self.options):
            raise ValueError("two options have the same id")


class PollClosed(msgspec.Struct, frozen=True, tag_field="type", tag="poll.closed"):
    """A poll ends for viewers at an instant, usually a little ahead of the marker."""

    show_id: Id
    poll_id: Id
    closed_at: Instant


class PollFinal(msgspec.Struct, frozen=True, tag_field="type", tag="poll.final", forbid_unknown_fields=True):
    """Nothing after this counts: with this marker folded in every partition, the result stands."""

    show_id: Id
    poll_id: Id


class VotesVoided(msgspec.Struct, frozen=True, tag_field="type", tag="votes.voided"):
    """Counted votes are struck from the official result: those of the poll that meet every condition given here.

    At least one condition is given. What was counted stays counted: see ``pipeline.domain.void``.
    """

    show_id: Id
    poll_id: Id
    void_id: Id  # names the decision, and is never used for another one
    reason: Reason
    author: Author
    edge_ids: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=MAX_OPTIONS)] | UnsetType = UNSET
    channels: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=MAX_OPTIONS)] | UnsetType = UNSET
    voter_ids: Annotated[tuple[VoterId, ...], msgspec.Meta(min_length=1, max_length=MAX_VOTERS)] | UnsetType = UNSET
    voters_from: VoterId | UnsetType = UNSET  # in the order of bytes; both ends are in the range
    voters_to: VoterId | UnsetType = UNSET
    cast_from: Instant | UnsetType = UNSET
    cast_before: Instant | UnsetType = UNSET

    def __post_init__(self) -> None:
        if all(getattr(self, name) is UNSET for name in CONDITIONS):
            raise ValueError("no condition: it would strike every vote")


class VotesReinstated(msgspec.Struct, frozen=True, tag_field="type", tag="votes.reinstated"):
    """A void is taken back, for good."""

    show_id: Id
    poll_id: Id
    void_id: Id
    reason: Reason
    author: Author


CONDITIONS = ("edge_ids", "channels", "voter_ids", "voters_from", "voters_to", "cast_from", "cast_before")

Marker = PollOpened | PollClosed | PollFinal | VotesVoided | VotesReinstated
Record = Vote | Marker

# Strict, and closed: what this takes has no unknown field, so that no part of it was skipped unread. For two types, since
# with a single one msgspec lets the tag be absent.
_decode_closed: Callable[[bytes], Record] = msgspec.json.Decoder(Vote | PollFinal).decode

_KINDS: dict[object, type[Record]] = {
    kind.__struct_config__.tag: kind for kind in (Vote, PollOpened, PollClosed, PollFinal, VotesVoided, VotesReinstated)
}


def decode(value: bytes | None) -> Record | None:
    """Read one value. None: it is malformed.

    Many at a time are read by ``columns.read_columns``, sooner and the same.
    """
    if not value or len(value) > MAX_VALUE_BYTES:
        return None
    if len(value) > MAX_BRACKETS and value.count(b"{") + value.count(b"[") > MAX_BRACKETS:
        return None
    try:
        record: Record | None = _decode_closed(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        record = _decode_open(value)
    return None if isinstance(record, Vote) and not _has_good_ids(record) else record


def _decode_open(value: bytes) -> Record | None:
    """Read a value that is no plain vote. msgspec would skip unknown fields without checking them: orjson reads all."""
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    tag = fields.get("type") if isinstance(fields, dict) else None
    kind = _KINDS.get(tag) if isinstance(tag, str) else None
    if kind is None:
        return None
    known = {name: fields[name] for name in ("type", *kind.__struct_fields__) if name in fields}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError:
        return None


def _has_good_ids(vote: Vote) -> bool:
    kind = f"{vote.show_id} {vote.poll_id} {vote.option_id} {vote.edge_id} {vote.channel}"
    return _are_ids(f"{vote.vote_id} {vote.voter_id} {kind}") is not None


def is_id(text: str) -> bool:
    """Tell whether a text can name a show, poll, option, edge or channel."""
    return _is_id(text) is not None


def encode(record: Record) -> bytes:
    """Write a record as the JSON that goes into the log."""
    return msgspec.json.encode(record)
