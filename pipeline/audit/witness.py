"""What three witnesses say of one poll, each in its own words, per partition and up to a common offset.

The cut of a partition is where its ledger stood when it was read: the log's records before it, and no others, are what all
three are asked about. So an audit can be made in the middle of a show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.domain.fold import Cell
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import Poll


@dataclass(frozen=True)
class LogWitness:
    """Kafka, of one partition."""

    partition: int
    begin: int  # the first offset that the log still has
    end: int  # the offset after its last record
    read: tuple[int, int]  # the range that was read for the digest: from `begin` to the cut
    digest: bytes  # SHA-256 over the hashes of the records in it
    markers: Mapping[str, Sequence[int]] = field(default_factory=dict)  # offsets of the poll's markers in it, by type


@dataclass(frozen=True)
class LedgerWitness:
    """Redis, of one partition, as it was at one moment."""

    partition: int
    base: int
    next_offset: int  # the cut
    outcomes: Mapping[Outcome, int]
    poll: Poll | None
    totals: Mapping[str, int]
    poll_outcomes: Mapping[Outcome, int]
    cells: Mapping[Cell, int]


@dataclass(frozen=True)
class PollRecount:
    """A poll as SQL found it in a partition's log before the cut. Offsets are those of the markers that hold."""

    opened_offset: int
    opened_at: int
    option_ids: Sequence[str]
    votes_per_voter: int
    dedupe_horizon_ms: int
    closed_offset: int | None
    closed_at: int | None
    final_offset: int | None
    voids_in_force: Sequence[str]  # their names, in order


@dataclass(frozen=True)
class ArchiveWitness:
    """ClickHouse, of one partition before the cut."""

    partition: int
    rows: int  # from the ledger's base on, as stored
    distinct: int
    gaps: Sequence[tuple[int, int]]  # the first runs of offsets that are missing
    digest: bytes  # of the range that was read of the log
    outcomes: Mapping[Outcome, int]
    poll: PollRecount | None
    poll_outcomes: Mapping[Outcome, int]
    cells: Mapping[Cell, int]
    struck: Mapping[str, int]  # by option


@dataclass(frozen=True)
class Stray:
    """A voter or a vote that counted more often than the rules allow, because it came in several partitions."""

    what: str  # "voter" or "vote"
    name: str
    counted: int
    allowed: int
    partitions: Sequence[int]
