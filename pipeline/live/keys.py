"""The display's keyspace (the contract is ``schemas/live.md``): one hash and one channel per poll, of the same name."""

import msgspec

from pipeline.domain.poll import PollId
from pipeline.domain.record import is_id
from pipeline.live.snapshot import FORMAT, Snapshot

PREFIX = "live"


def live_key(poll_id: PollId) -> str:
    """Name the hash of a poll's display, and the channel of its versions."""
    return f"{PREFIX}:{poll_id.show_id}:{poll_id.poll_id}"


def parse_live_key(key: str) -> PollId | None:
    """Read what ``live_key`` wrote; None: the key is something else."""
    prefix, *ids = key.split(":")
    return PollId(*ids) if prefix == PREFIX and len(ids) == 2 and all(map(is_id, ids)) else None


def fields(shown: Snapshot) -> list[str | int]:
    """Give the hash's flat fields and values, apart from `version`, `json` and `seconds`."""
    flat: list[str | int] = ["format", FORMAT]
    for name in ("status", "phase", "total", "rate", "second", "opened_at", "complete_to", "as_of", "voids", "topic"):
        flat += [name, getattr(shown, name)]
    flat += ["closed_at", _or_empty(shown.closed_at), "lag", _or_empty(shown.lag)]
    flat += ["next_offsets", offsets_text(shown)]
    for option in shown.options:
        flat += [f"total:{option.id}", option.votes, f"share:{option.id}", str(option.share)]
        flat += [f"last:{option.id}", option.last, f"label:{option.id}", option.label or option.id]
    for outcome, number in shown.outcomes.items():
        flat += [f"outcome:{outcome}", number]
    return flat


def offsets_text(shown: Snapshot) -> str:
    """Write the next offsets as they stand in the hash: `120 98 131`, partition 0 first."""
    return " ".join(map(str, shown.next_offsets))


def _or_empty(number: int | None) -> str | int:
    return "" if number is None else number


def encode_series(series: msgspec.Struct) -> bytes:
    """Write the series as JSON."""
    return msgspec.json.encode(series)
