"""The publisher of votes that cannot be used wrongly: checked, stamped, pseudonymous, keyed, acknowledged."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, encode
from pipeline.edge.ballots import Ballot, BallotError, ForwardedBallot, PostedBallot, why_implausible
from pipeline.edge.pseudonym import Pseudonyms
from pipeline.errors import PublishError
from pipeline.log.lanes import LINGER_MS, Lanes, Settled
from pipeline.log.topics import check_topic
from pipeline.settings import Settings

ACKNOWLEDGED_WITHIN_S = 30.0


class VotePublisher:
    """Publishes viewers' votes. Use it as an asynchronous context manager, one for a process.

    A vote is checked, stamped with the time, its voter replaced by a pseudonym, and sent keyed by voter to the partition
    that Kafka's Java client would choose. What returns normally is safe: all in-sync replicas have it. Anything else may
    be published again with the same `vote_id`, as often as it takes; it counts once.

    Leaving the block waits for what is on its way.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        linger_ms: int = LINGER_MS,
        most_in_flight: int | None = None,
        close_s: float = 30.0,
    ) -> None:
        """Choose; nothing is connected yet.

        Args:
            settings: where Kafka is, topic and partitions, `edge_id`, and the secret of the pseudonyms.
            linger_ms: how long a vote waits for others to share a batch with.
            most_in_flight: votes on their way to Kafka; more are refused.
            close_s: how long leaving waits for acknowledgements.

        Raises:
            SettingError: there is no secret, or no Kafka.
        """
        self._settings = settings
        self._edge_id = settings.edge_id
        self._pseudonyms = Pseudonyms.from_settings(settings)
        self._lanes = Lanes(
            settings,
            linger_ms=linger_ms,
            most_in_flight=most_in_flight or settings.edge_in_flight,
            close_s=close_s,
        )

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            TopicMismatchError: the topic has other partitions than the settings say: a voter's votes would land in two.
            UnavailableError: Kafka does not answer.
        """
        await check_topic(self._settings)
        await self._lanes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lanes.__aexit__(kind, error, trace)

    @property
    def in_flight(self) -> int:
        """Votes that were taken and are not acknowledged."""
        return self._lanes.in_flight

    def room(self) -> int:
        """Give how many votes would be taken now."""
        return self._lanes.room()

    def stalled_s(self) -> float:
        """Give for how long some partition has acknowledged nothing, although votes are on their way to it."""
        return self._lanes.stalled_s()

    async def publish(self, ballot: Ballot) -> Vote:
        """Publish one vote; give it as it is in the log.

        Raises:
            BallotError: it is not valid, or was cast too long ago for the log; nothing was published.
            BackpressureError: too many votes are on their way; nothing was published.
            PublishError: not acknowledged, within 30 s at most; it may be in the log or not. Publish it again with the same id.
        """
        return (await self.publish_many([ballot]))[0]

    async def publish_many(self, ballots: Sequence[Ballot]) -> list[Vote]:
        """Publish some votes together, all or none of them taken; raises as ``publish`` does."""
        now = now_ms()
        for ballot in ballots:
            ballot.check()
            if ballot.cast_at is not None and (why := why_implausible(ballot.cast_at, now, ACKNOWLEDGED_WITHIN_S)):
                raise BallotError(why)
        votes = [
            vote
            for ballot in ballots
            for vote in self.votes(
                PollId(ballot.show_id, ballot.poll_id), [ballot], [now if ballot.cast_at is None else ballot.cast_at]
            )
        ]
        if votes:
            acknowledged = asyncio.get_running_loop().create_future()

            def settled(error: PublishError | None) -> None:
                if not acknowledged.done():
                    acknowledged.set_result(error)

            self.submit(votes, settled)
            try:
                async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                    error = await acknowledged
            except TimeoutError:
                error = PublishError(
                    f"not acknowledged within {ACKNOWLEDGED_WITHIN_S:.0f} s; publish it again with the same id"
                )
            if error is not None:
                raise error
        return votes

    def votes(
        self,
        poll_id: PollId,
        ballots: Sequence[Ballot | PostedBallot | ForwardedBallot],
        cast_at: Sequence[int],
        edge_id: str | None = None,
    ) -> list[Vote]:
        """Make votes for a poll, with their voters' pseudonyms, of ballots that were checked, each cast at its instant."""
        show, poll = poll_id
        edge = edge_id or self._edge_id
        voter_ids = self._pseudonyms.of_all(show, [ballot.voter for ballot in ballots])
        return [
            Vote(ballot.vote_id, show, poll, ballot.option_id, voter_id, at, edge, ballot.channel)
            for ballot, voter_id, at in zip(ballots, voter_ids, cast_at, strict=True)
        ]

    def submit(self, votes: Sequence[Vote], settled: Settled) -> None:
        """Take votes that were checked, all or none; `settled` is called once: with None when Kafka has them all.

        Raises:
            BackpressureError: too many votes are on their way; nothing was taken.
        """
        self._lanes.submit([(vote.voter_id.encode(), encode(vote)) for vote in votes], settled)
