"""The instants of a poll, as they decide about votes that are published now.

The log's broker compares an instant with its own append time, which is a little after the publisher's: all instants
here keep clear of that comparison's borders, so that an outcome never hangs on how long a record was under way.
"""

from dataclasses import dataclass
from random import Random

from pipeline.domain.outcome import Outcome

FRESH_MS = 20_000  # this far back, a vote is plausible (the rule says 60 s), however slow the publisher
_PAST_MS = 120_000  # and this far back it is not
_FUTURE_MS = 3_600_000  # nor is it this far ahead (the rule says 5 s)
_FUTURE_MAX_MS = 300_000_000_000  # ten years


@dataclass
class Clock:
    """Where a poll stands at `now_ms`. All instants are ms since the epoch."""

    opened_at: int
    now_ms: int
    closed_at: int | None = None
    final: bool = False

    def advance(self, now_ms: int) -> None:
        """Move on.

        Raises:
            ValueError: time went backwards.
        """
        if now_ms < self.now_ms:
            raise ValueError(f"time went backwards, from {self.now_ms} to {now_ms}")
        self.now_ms = now_ms

    def close(self, closed_at: int) -> None:
        """Note that the poll's end was announced.

        Raises:
            ValueError: votes were published that would be cast after it, or it was announced before.
        """
        if self.closed_at is not None or closed_at <= self.now_ms:
            raise ValueError(f"a poll is closed once, at an instant after {self.now_ms}, not at {closed_at}")
        self.closed_at = closed_at

    def refusal(self, cast_at: int) -> Outcome | None:
        """Tell what rules 4, 6 and 7 say of a good vote that is published now. None: it goes on to rule 8."""
        if cast_at < self.opened_at:
            return Outcome.POLL_NOT_OPEN
        if self.final or (self.closed_at is not None and cast_at >= self.closed_at):
            return Outcome.LATE
        if cast_at <= self.now_ms - _PAST_MS or cast_at >= self.now_ms + _FUTURE_MS:
            return Outcome.IMPLAUSIBLE_TIME
        return None

    def in_time(self) -> int | None:
        """Give an instant at which a vote that arrives now was cast in time; None if there is none any more."""
        if self.final:
            return None
        if self.closed_at is None or self.now_ms < self.closed_at:
            return self.now_ms
        # The first is the last millisecond that counts; later ones go back a little, as deliveries arrive in no order.
        cast_at = max(self.opened_at, self.closed_at - 1 - (self.now_ms - self.closed_at) % 2_000)
        return cast_at if cast_at > self.now_ms - FRESH_MS else None

    def too_late(self, rng: Random) -> int | None:
        """Give an instant at which a vote that arrives now was cast too late; None while no end is known."""
        if self.closed_at is None:
            return None
        if self.final:
            return rng.choice((self.now_ms, self.closed_at, self.closed_at - 1))
        return rng.choice((max(self.now_ms, self.closed_at), self.closed_at))

    def too_early(self, rng: Random) -> int:
        """Give an instant before the poll opened."""
        return max(0, self.opened_at - rng.choice((1, 1_000, 3_600_000, 10 * self.opened_at)))

    def implausible(self, rng: Random) -> int:
        """Give an instant far in the future; if the poll has been open for long, perhaps one far in the past."""
        ahead = self.now_ms + rng.randrange(_FUTURE_MS, _FUTURE_MAX_MS)
        latest = self.now_ms - _PAST_MS
        past = rng.random()
        if past >= 0.5 or latest <= self.opened_at:
            return ahead
        return latest - int(2 * past * (latest - self.opened_at))
