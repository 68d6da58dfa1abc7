"""Voids: votes that are struck from the official result after they were counted, and reinstated perhaps.

A void never changes an outcome. What was counted, repeated or over the limit was decided by the log before it; if a void
could alter that, one decision about an edge would move votes of others from `over_limit` to `counted`, and a number that was
on the air would have no log behind it. So a void is a second, separate fold over the same log: per partition, the *deduction*
is the number of counted votes, wherever they lie, that meet a void which is in force at the end of that log. The official
result is what was counted less what is deducted, and both are shown.

A void that comes twice changes nothing, and one that was taken back stays so: a repeated marker cannot bring it in force again.
"""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from pipeline.domain.record import Vote, VotesReinstated, VotesVoided


class Void(msgspec.Struct, frozen=True):
    """A void as one partition has seen it."""

    decision: VotesVoided
    reinstated: VotesReinstated | None = None

    @property
    def in_force(self) -> bool:
        """Whether it was not taken back."""
        return self.reinstated is None


def apply_void(voids: tuple[Void, ...], marker: VotesVoided | VotesReinstated) -> tuple[Void, ...]:
    """Take a marker into a poll's voids; what repeats or contradicts them changes nothing."""
    known = {void.decision.void_id: void for void in voids}
    void = known.get(marker.void_id)
    if isinstance(marker, VotesVoided):
        return voids if void is not None else (*voids, Void(marker))
    if void is None or not void.in_force:
        return voids
    known[marker.void_id] = Void(void.decision, marker)
    return tuple(known.values())


def is_struck(vote: Vote, voids: Iterable[Void]) -> bool:
    """Tell whether a counted vote is deducted."""
    return any(void.in_force and meets(vote, void.decision) for void in voids)


def meets(vote: Vote, decision: VotesVoided) -> bool:
    """Tell whether a vote of the poll meets every condition of a void."""
    return (
        (decision.edge_ids is UNSET or vote.edge_id in decision.edge_ids)
        and (decision.channels is UNSET or vote.channel in decision.channels)
        and (decision.voter_ids is UNSET or vote.voter_id in decision.voter_ids)
        and (decision.voters_from is UNSET or vote.voter_id >= decision.voters_from)
        and (decision.voters_to is UNSET or vote.voter_id <= decision.voters_to)
        and (decision.cast_from is UNSET or vote.cast_at >= decision.cast_from)
        and (decision.cast_before is UNSET or vote.cast_at < decision.cast_before)
    )
