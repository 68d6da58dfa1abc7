"""Records that do not count, or not as they seem to, for a reason other than being sent twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import cycle
from random import Random

from pipeline.domain.outcome import Outcome
from pipeline.domain.record import Option, PollOpened, encode
from pipeline.show.ballots import Ballots
from pipeline.show.clock import Clock
from pipeline.show.expectation import MARKER, Fate, Planned
from pipeline.show.forms import MALFORMED, oversized
from pipeline.show.script import Popularity, Script, Shares
from pipeline.show.voters import Voters

_MALFORMED = Fate(Outcome.MALFORMED, of_poll=False)
_NOBODY = (Popularity("nobody", 1), Popularity("ada-the-second", 1), Popularity("0", 1))


class Quota:
    """Deals records out to kinds, so that over any stretch each kind has its share to within one record."""

    def __init__(self, shares: Shares) -> None:
        self._shares = {each.name: float(getattr(shares, each.name)) for each in fields(shares)}
        self._due = {kind: 0.5 if share else 0.0 for kind, share in self._shares.items()}

    def deal(self, records: int) -> dict[str, int]:
        """Give the number of each kind among the next records; kinds are the names of ``Shares``."""
        left, dealt = records, {}
        for kind, share in self._shares.items():
            due = self._due[kind] + share * records
            dealt[kind] = min(int(due), left)
            left -= dealt[kind]
            self._due[kind] = due - dealt[kind]
        return dealt


class Strays:
    """Makes them, kind by kind."""

    def __init__(self, script: Script, rng: Random, voters: Voters, clock: Clock, votes: Ballots) -> None:
        self._script, self._rng, self._voters, self._clock = script, rng, voters, clock
        self._votes = votes
        self._unknown_options = Ballots(script.show_id, script.poll_id, _without(script, _NOBODY))
        self._unknown_polls = cycle(
            [
                Ballots(script.show_id, "poll-that-nobody-opened", script.options),
                Ballots("show-that-nobody-airs", script.poll_id, script.options),
            ]
        )
        self._malformed = cycle(MALFORMED.values())
        # Kinds that are made elsewhere, from ordinary votes, are not here: repeats, unusual ones.
        self._makers: Mapping[str, Callable[[int], list[Planned]]] = {
            "over_limit": self._over_limit,
            "malformed": self._spoilt,
            "wrong_key": self._wrong_key,
            "unknown_option": self._unknown_option,
            "unknown_poll": self._unknown_poll,
            "before_opening": self._before_opening,
            "implausible_time": self._implausible_time,
            "rival_openings": self._rival_openings,
            "oversized": self._oversized,
        }

    def make(self, dealt: Mapping[str, int]) -> list[Planned]:
        """Give as many of each kind as were dealt; fewer, while no voter has used all votes."""
        strays: list[Planned] = []
        for kind, maker in self._makers.items():
            if dealt[kind]:
                strays += maker(dealt[kind])
        return strays

    def _over_limit(self, count: int) -> list[Planned]:
        cast_at = self._now()
        return self._fated(self._voters.spent(self._rng, count), cast_at, Outcome.OVER_LIMIT)

    def _spoilt(self, count: int) -> list[Planned]:
        good = self._fated(self._anyone(count), self._now(), Outcome.MALFORMED)
        return [Planned(vote.key, next(self._malformed)(vote.value or b""), _MALFORMED) for vote in good]

    def _oversized(self, count: int) -> list[Planned]:
        good = self._fated(self._anyone(count), self._now(), Outcome.MALFORMED)
        return [Planned(vote.key, oversized(vote.value or b""), _MALFORMED) for vote in good]

    def _wrong_key(self, count: int) -> list[Planned]:
        # Another voter's key, or none: such records may lie in any partition.
        values = self._written(self._votes, self._anyone(count), self._now())
        keys = [None if self._rng.random() < 0.5 else key[::-1] + b"x" for key in self._anyone(count)]
        fate = Fate(Outcome.WRONG_KEY)
        return [Planned(key, value, fate) for key, value in zip(keys, values, strict=True)]

    def _unknown_option(self, count: int) -> list[Planned]:
        voters = self._anyone(count)
        values = self._written(self._unknown_options, voters, self._now())
        return _planned(voters, values, Fate(Outcome.UNKNOWN_OPTION))

    def _unknown_poll(self, count: int) -> list[Planned]:
        voters = self._anyone(count)
        values = self._written(next(self._unknown_polls), voters, self._now())
        return _planned(voters, values, Fate(Outcome.POLL_NOT_OPEN, of_poll=False))

    def _before_opening(self, count: int) -> list[Planned]:
        return self._fated(self._anyone(count), self._clock.too_early(self._rng), Outcome.POLL_NOT_OPEN)

    def _implausible_time(self, count: int) -> list[Planned]:
        # In a poll whose end is known, the far future is late rather than implausible: that rule comes first.
        return self._fated(self._anyone(count), self._clock.implausible(self._rng), Outcome.IMPLAUSIBLE_TIME)

    def _rival_openings(self, count: int) -> list[Planned]:
        options = tuple(Option(option.option_id) for option in _without(self._script, _NOBODY))
        rival = PollOpened(self._script.show_id, self._script.poll_id, self._clock.now_ms, options, votes_per_voter=99)
        return _planned(self._anyone(count), [encode(rival)] * count, MARKER)

    def _fated(self, voters: Sequence[bytes], cast_at: int, outcome: Outcome) -> list[Planned]:
        values = self._written(self._votes, voters, cast_at)
        return _planned(voters, values, Fate(self._clock.refusal(cast_at) or outcome))

    def _written(self, ballots: Ballots, voters: Sequence[bytes], cast_at: int) -> list[bytes]:
        return ballots.votes(self._rng, voters, self._rng.randbytes(len(voters)), cast_at)

    def _anyone(self, count: int) -> list[bytes]:
        return self._voters.anyone(self._rng, count)

    def _now(self) -> int:
        """Give an instant for which rules 4, 6 and 7 let a vote pass, as long as there is one."""
        cast_at = self._clock.in_time()
        return self._clock.now_ms if cast_at is None else cast_at


def _planned(voters: Sequence[bytes], values: Sequence[bytes], fate: Fate) -> list[Planned]:
    return [Planned(voter, value, fate) for voter, value in zip(voters, values, strict=True)]


def _without(script: Script, options: Sequence[Popularity]) -> list[Popularity]:
    known = {option.option_id for option in script.options}
    return [option for option in options if option.option_id not in known] or [Popularity("x" * 63, 1)]
