"""The oracle: what an exact counter must say of the records that were published."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import orjson

from pipeline.domain.outcome import Outcome


class Fate(NamedTuple):
    """What becomes of a record."""

    outcome: Outcome
    of_poll: bool = True  # it is among the outcomes of the show's poll: a vote for it, whether it counts or not
    option_id: str | None = None  # of a counted vote
    second: int | None = None  # the start of its window, ms since the epoch


MARKER = Fate(Outcome.MARKER, of_poll=False)


class Planned(NamedTuple):
    """A record to publish, and what becomes of it."""

    key: bytes | None
    value: bytes | None
    fate: Fate


@dataclass(slots=True)
class Block:
    """Records in the order in which they must be published. Columns are as long as the block, `fates` apart."""

    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    fate_of: list[int] = field(default_factory=list)  # for each record, the index of its fate

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Planned]:
        for key, value, fate in zip(self.keys, self.values, self.fate_of, strict=True):
            yield Planned(key, value, self.fates[fate])


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    """An expectation as JSON."""

    show_id: str
    poll_id: str
    records: int
    outcomes: dict[Outcome, int]
    poll_outcomes: dict[Outcome, int]
    totals: dict[str, int]
    seconds: dict[int, dict[str, int]]  # the start of the second, ms since the epoch -> option id -> votes


@dataclass
class Expectation:
    """What must be said of a poll, and of the log, once these records are folded.

    Only what was acknowledged may be expected. A publisher that does not know whether a record is in the log does not
    know the result either: the votes and repeats of the same voter hang on it.
    """

    show_id: str
    poll_id: str
    outcomes: Counter[Outcome] = field(default_factory=Counter)  # of all records
    poll_outcomes: Counter[Outcome] = field(default_factory=Counter)  # of the poll's own
    cells: Counter[tuple[int, str]] = field(default_factory=Counter)  # (second, option id) -> votes

    @property
    def records(self) -> int:
        """How many records there are."""
        return self.outcomes.total()

    @property
    def counted(self) -> int:
        """How many votes count."""
        return self.outcomes[Outcome.COUNTED]

    @property
    def totals(self) -> dict[str, int]:
        """Votes per option, of the options that have any."""
        totals: Counter[str] = Counter()
        for (_, option_id), votes in self.cells.items():
            totals[option_id] += votes
        return dict(sorted(totals.items()))

    def expected_total(self, option_id: str) -> int:
        """Votes of an option."""
        return self.totals.get(option_id, 0)

    @property
    def seconds(self) -> dict[int, dict[str, int]]:
        """Votes per second (its start, ms since the epoch) and option."""
        seconds: dict[int, dict[str, int]] = {}
        for (second, option_id), votes in sorted(self.cells.items()):
            if votes:
                seconds.setdefault(second, {})[option_id] = votes
        return seconds

    def add(self, *blocks: Block) -> None:
        """Expect all records of blocks."""
        for block in blocks:
            for fate, times in Counter(block.fate_of).items():
                self.expect(block.fates[fate], times)

    def expect(self, fate: Fate, times: int = 1) -> None:
        """Expect records of a fate: single ones, or the markers that the caller has sent (``MARKER``)."""
        self.outcomes[fate.outcome] += times
        if fate.of_poll:
            self.poll_outcomes[fate.outcome] += times
        if fate.option_id is not None and fate.second is not None:
            self.cells[fate.second, fate.option_id] += times

    def merge(self, other: "Expectation") -> None:
        """Expect also what another publisher of the same poll has published (of other voters: with another seed).

        Raises:
            ValueError: it is of another poll.
        """
        if (self.show_id, self.poll_id) != (other.show_id, other.poll_id):
            raise ValueError(f"{self.show_id}/{self.poll_id} is not {other.show_id}/{other.poll_id}")
        self.outcomes.update(other.outcomes)
        self.poll_outcomes.update(other.poll_outcomes)
        self.cells.update(other.cells)

    def differences(self, found: "Expectation") -> list[str]:
        """Say where something that was found is not what is expected, a line each. Nothing: it agrees."""
        ours, theirs = _lines(self), _lines(found)
        return [
            f"{name}: expected {ours[name]}, found {theirs[name]}"
            for name in sorted({*ours, *theirs})
            if ours[name] != theirs[name]
        ]

    def to_json(self) -> bytes:
        """Write it."""
        names = _Written.__struct_fields__
        options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
        return orjson.dumps({name: getattr(self, name) for name in names}, option=options)

    @classmethod
    def from_json(cls, text: bytes) -> "Expectation":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else, or its numbers do not agree with each other.
        """
        read = msgspec.json.decode(text, type=_Written)
        cells = {(second, option): n for second, votes in read.seconds.items() for option, n in votes.items()}
        self = cls(read.show_id, read.poll_id, Counter(read.outcomes), Counter(read.poll_outcomes), Counter(cells))
        if (self.records, self.totals) != (read.records, read.totals):
            raise ValueError("the sums of this expectation are not those of its parts")
        return self


def _lines(of: Expectation) -> Counter[str]:
    lines = Counter({f"outcome {outcome}": times for outcome, times in of.outcomes.items()})
    lines.update({f"poll's outcome {outcome}": times for outcome, times in of.poll_outcomes.items()})
    lines.update({f"total of {option}": votes for option, votes in of.totals.items()})
    lines.update({f"second {second} of {option}": votes for (second, option), votes in of.cells.items()})
    return lines
