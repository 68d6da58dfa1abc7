"""What happens in a show: who may vote for what, how many records when, and how many are not as they should be."""

from dataclasses import dataclass, field, fields, replace

from pipeline.domain.record import Option, PollClosed, PollFinal, PollOpened, is_id
from pipeline.show.curve import LIVE, STEADY, Curve


@dataclass(frozen=True, slots=True)
class Popularity:
    """An option and how often it is chosen, relative to the others (in steps of 1/256 of the votes, at least one)."""

    option_id: str
    weight: float
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The part of all records that is of each kind, 0 to 1. The rest are ordinary votes."""

    repeats: float = 0.04  # a vote sent again, byte for byte: half of them at once, half up to many seconds later
    over_limit: float = 0.03  # a further vote of somebody who has used all theirs
    malformed: float = 0.008  # every form in ``forms.MALFORMED`` in turn
    wrong_key: float = 0.002  # the record's key is another one, or none
    unknown_option: float = 0.003
    unknown_poll: float = 0.002  # another poll or show that nobody has opened
    before_opening: float = 0.001  # cast before the poll opened
    implausible_time: float = 0.002  # cast in the far future; in a poll that has been open for minutes, also long ago
    unusual: float = 0.005  # good votes in an odd form: every form in ``forms.UNUSUAL`` in turn
    rival_openings: float = 0.0001  # markers that open the poll again with other options: to be ignored
    oversized: float = 0.000006  # values of 1 MB

    def __post_init__(self) -> None:
        shares = [float(getattr(self, each.name)) for each in fields(self)]
        if min(shares) < 0 or sum(shares) > 0.9:
            raise ValueError(f"shares are not negative and leave a tenth for ordinary votes, not {shares}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A show. Times are seconds of show time from the opening; a caller that falls behind runs it slower.

    By default it is `records` at a steady rate, into a poll that somebody else opens and closes. Else the close is
    announced `notice_s` before `duration_s`; after it, `grace_s` lets late deliveries arrive; then the poll is final,
    and for `after_s` somebody still tries.
    """

    show_id: str
    poll_id: str
    options: tuple[Popularity, ...]
    records: int  # in the whole show; markers that the caller sends are not among them
    voters: int
    votes_per_voter: int
    duration_s: float
    notice_s: float = 0.0
    grace_s: float = 0.0
    after_s: float = 0.0
    tick_ms: int = 20
    curve: Curve = STEADY
    shares: Shares = field(default_factory=Shares)
    late_after_close: float = 0.5  # of the votes that arrive after the close, the part that was also cast after it
    repeat_within_s: float = 20.0  # how old a vote may be when it is sent again; keep it below a dedupe horizon

    def __post_init__(self) -> None:
        if min(self.records, self.voters, self.votes_per_voter, self.tick_ms) < 1 or not 0 < self.duration_s < 10**6:
            raise ValueError("records, voters, votes per voter, tick and duration are all at least 1, or above 0")
        if min(self.notice_s, self.grace_s, self.after_s) < 0 or self.notice_s > self.duration_s:
            raise ValueError("notice, grace and the time after are not negative, and notice is within the duration")
        if not 1 <= self.repeat_within_s <= 30:
            raise ValueError("a repeat must come within 1 to 30 s, or the broker's time may make it implausible")
        if not 1 <= len(self.options) <= 100 or any(option.weight <= 0 for option in self.options):
            raise ValueError("a show has 1 to 100 options, each with a weight above 0")
        ids = [option.option_id for option in self.options]
        if not all(map(is_id, (self.show_id, self.poll_id, *ids))) or len(set(ids)) != len(ids):
            raise ValueError(f"not ids, or not different ones: {self.show_id}, {self.poll_id}, {ids}")

    @property
    def ticks(self) -> int:
        """How many ticks the show has."""
        return self._tick_at(self.duration_s + self.grace_s + self.after_s)

    @property
    def close_tick(self) -> int:
        """Before which tick the close is announced: closed_at is then `notice_s` ahead."""
        return self._tick_at(self.duration_s - self.notice_s)

    @property
    def final_tick(self) -> int:
        """Before which tick the poll is made final."""
        return self._tick_at(self.duration_s + self.grace_s)

    def records_in(self, tick: int) -> int:
        """How many records a tick has. The sum over all ticks is `records`."""
        return self._records_before(tick + 1) - self._records_before(tick)

    def opened(self, opened_at: int) -> PollOpened:
        """Give the marker that opens the poll."""
        options = tuple(Option(option.option_id, option.label) for option in self.options)
        return PollOpened(self.show_id, self.poll_id, opened_at, options, self.votes_per_voter)

    def closed(self, closed_at: int) -> PollClosed:
        """Give the marker that announces the close."""
        return PollClosed(self.show_id, self.poll_id, closed_at)

    def final(self) -> PollFinal:
        """Give the marker after which nothing counts."""
        return PollFinal(self.show_id, self.poll_id)

    def scaled(self, factor: float) -> "Script":
        """Give the same show with `factor` times as many records and voters, in the same time."""
        records, voters = max(1, round(self.records * factor)), max(1, round(self.voters * factor))
        return replace(self, records=records, voters=voters)

    def _tick_at(self, seconds: float) -> int:
        return max(0, round(seconds * 1000 / self.tick_ms))

    def _records_before(self, tick: int) -> int:
        per_tick = self.tick_ms / 1000 / self.duration_s
        whole = self.curve.area(self.ticks * per_tick)
        return round(self.records * self.curve.area(tick * per_tick) / whole)


FINALISTS = (
    Popularity("ada", 34, "Ada"),
    Popularity("bo", 27, "Bo"),
    Popularity("cy", 20, "Cy"),
    Popularity("dee", 12, "Dee"),
    Popularity("eli", 7, "Eli"),
)


def default_script(
    *,
    records: int = 520_000,
    seconds: float = 30.0,
    show_id: str = "grand-final",
    poll_id: str = "winner",
    votes_per_voter: int = 2,
) -> Script:
    """Give a whole show: a final in `seconds`, with everything that can happen to a vote."""
    return Script(
        show_id=show_id,
        poll_id=poll_id,
        options=FINALISTS,
        records=records,
        voters=max(1, records // votes_per_voter),
        votes_per_voter=votes_per_voter,
        duration_s=0.92 * seconds,
        notice_s=min(2.0, 0.1 * seconds),
        grace_s=0.06 * seconds,
        after_s=0.02 * seconds,
        curve=LIVE,
    )
