"""From what a viewer or an edge in front sends to votes on their way, and the answer when Kafka has them.

It knows no sockets: HTTP and WebSocket connections both come here.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from http import HTTPStatus
from typing import TypeVar

import msgspec

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import MAX_AGE_MS, Vote
from pipeline.edge.ballots import MAX_BALLOTS, ForwardedBallot, read_forwarded, read_posted, why_implausible
from pipeline.edge.buckets import Buckets
from pipeline.edge.polls import Polls
from pipeline.edge.publisher import VotePublisher
from pipeline.edge.recent import Recent
from pipeline.edge.tokens import Grant
from pipeline.errors import BackpressureError, PublishError
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError, again_later

T = TypeVar("T")

Answer = Callable[[ProblemError | None], None]  # None: Kafka has it

MOST_BUCKETS = 400_000  # of voters, and of addresses: some 100 bytes each
REMEMBERED = 400_000  # acknowledged votes
SHOWN = 300  # characters of a reason


class Ingest:
    """Decides what becomes of votes that arrive."""

    def __init__(self, publisher: VotePublisher, polls: Polls, settings: Settings) -> None:
        self._publisher, self._polls = publisher, polls
        self._voters = Buckets(settings.edge_voter_per_s, settings.edge_voter_burst, MOST_BUCKETS)
        self._addresses = Buckets(settings.edge_address_per_s, settings.edge_address_burst, MOST_BUCKETS)
        self._fronts = Buckets(settings.edge_front_per_s, settings.edge_front_burst, MOST_BUCKETS)
        # How long an array of an edge in front may take until it is appended, by which instant the log judges its votes.
        self._within_s = settings.edge_wait_s + settings.edge_answer_s
        self._acknowledged: Recent[bool] = Recent(REMEMBERED)
        self.counts: Counter[str] = Counter()  # votes by what became of them

    @property
    def in_flight(self) -> int:
        """Votes on their way to Kafka."""
        return self._publisher.in_flight

    def room(self) -> int:
        """Give how many votes can be taken now."""
        return self._publisher.room()

    def stalled_s(self) -> float:
        """Give for how long some partition has acknowledged nothing, although votes are on their way to it."""
        return self._publisher.stalled_s()

    def refused(self, problem: ProblemError) -> None:
        """Count a request that was not served."""
        self.counts[problem.kind or problem.status.phrase.lower().replace(" ", "-")] += 1

    def take_one(self, poll_id: PollId, body: bytes | str, address: str, answer: Answer) -> str:
        """Take a viewer's vote; give its id. `answer` is called once, later.

        Raises:
            ProblemError: it is not taken.
        """
        now = time.monotonic()
        if wait_s := self._addresses.take(address, now):
            raise _too_fast("this address", wait_s)
        ballot = _read(read_posted, body)
        cast_at = now_ms()
        (vote,) = self._publisher.votes(poll_id, [ballot], [cast_at])
        try:
            self._polls.check(poll_id, ballot.option_id, cast_at, cast_at)
        except ProblemError:
            if self._acknowledged.get(_identity(vote), False):  # a retry, and the poll has closed meanwhile
                answer(None)
                return ballot.vote_id
            raise
        if wait_s := self._voters.take(vote.voter_id, now):
            raise _too_fast("this voter", wait_s)

        def settled(error: PublishError | None) -> None:
            if error is None and now_ms() - cast_at <= MAX_AGE_MS:  # else it may have come too late to count
                self._acknowledged.put(_identity(vote), True)
            answer(self._outcome(error, 1))

        self._submit([vote], settled)
        return ballot.vote_id

    def take_forwarded(self, poll_id: PollId, body: bytes, grant: Grant, answer: Answer) -> int:
        """Take the votes, one or many, that an edge in front has collected; give how many. All are taken or none.

        Raises:
            ProblemError: none is taken.
        """
        ballots = _read(read_forwarded, body)
        if not 1 <= len(ballots) <= MAX_BALLOTS:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{len(ballots)} votes: send 1 to {MAX_BALLOTS}", kind="invalid-vote"
            )
        if wait_s := self._fronts.take(grant.edge_id, time.monotonic(), len(ballots)):
            raise _too_fast(f"the edge {grant.edge_id}", wait_s)
        now = now_ms()
        cast_at = [now if ballot.cast_at is None else ballot.cast_at for ballot in ballots]
        self._check_all(poll_id, ballots, cast_at, now)
        votes = self._publisher.votes(poll_id, ballots, cast_at, grant.edge_id)
        self._submit(votes, lambda error: answer(self._outcome(error, len(votes))))
        return len(votes)

    def _check_all(self, poll_id: PollId, ballots: list[ForwardedBallot], cast_at: list[int], now: int) -> None:
        """Make sure that all votes may count, or say which may not."""
        try:  # a poll takes votes from one instant to another: if it takes the first and the last, it takes all
            for option_id in {ballot.option_id for ballot in ballots}:
                self._check(poll_id, option_id, min(cast_at), now)
                self._check(poll_id, option_id, max(cast_at), now)
        except ProblemError:
            self._refuse_all(poll_id, ballots, cast_at, now)

    def _refuse_all(self, poll_id: PollId, ballots: list[ForwardedBallot], cast_at: list[int], now: int) -> None:
        """Say which votes may not count."""
        problems: list[tuple[int, ProblemError]] = []
        for index, ballot in enumerate(ballots):
            try:
                self._check(poll_id, ballot.option_id, cast_at[index], now)
            except ProblemError as problem:
                problems.append((index, problem))
        if problems:
            first = problems[0][1]
            raise ProblemError(
                first.status,
                f"vote {problems[0][0]}: {first.detail}; none of the {len(ballots)} votes was taken",
                kind=first.kind,
                members={
                    "votes": [
                        {"index": index, "vote_id": ballots[index].vote_id, "detail": each.detail}
                        for index, each in problems
                    ]
                },
            )

    def _check(self, poll_id: PollId, option_id: str, cast_at: int, now: int) -> None:
        """Make sure that a vote that another edge has received may count."""
        if why := why_implausible(cast_at, now, self._within_s):
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, why, kind="implausible-time")
        self._polls.check(poll_id, option_id, cast_at, now)

    def _submit(self, votes: list[Vote], settled: Callable[[PublishError | None], None]) -> None:
        try:
            self._publisher.submit(votes, settled)
        except BackpressureError:
            raise again_later(
                HTTPStatus.SERVICE_UNAVAILABLE, "more votes are on their way than this edge carries", "overloaded"
            ) from None

    def _outcome(self, error: PublishError | None, votes: int) -> ProblemError | None:
        if error is None:
            self.counts["accepted"] += votes
            return None
        return again_later(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Kafka did not acknowledge; send it again with the same vote_id: it counts once",
            "not-acknowledged",
        )


def _identity(vote: Vote) -> Hashable:
    return vote.poll_id, vote.vote_id, vote.voter_id


def _read(decode: Callable[[bytes | str], T], body: bytes | str) -> T:
    """Read a body.

    Raises:
        ProblemError: it is no JSON (400), or no vote (422). The text never shows a value: one of them names the voter.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)[:SHOWN], kind="invalid-vote") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"not JSON: {error}"[:SHOWN], kind="not-json") from None


def _too_fast(who: str, wait_s: float) -> ProblemError:
    return again_later(
        HTTPStatus.TOO_MANY_REQUESTS, f"too many votes from {who}", "too-many-votes", least_s=wait_s, spread_s=1.0
    )
