"""Who votes: pseudonyms without end, and which of them have votes left."""

import hashlib
from base64 import urlsafe_b64encode
from random import Random

_COHORT = 1024  # voters that vote at the same time: all their votes, then the next cohort
_SPENT_OF_COHORT = 32  # voters of each whose further votes are sent, so that memory does not grow with the show
_SPENT_MAX = 8192


class Voters:
    """`count` voters with `votes_each` votes each, handed out cohort by cohort: so nobody needs to be remembered.

    An id is 22 characters of base64url, as the edge's pseudonyms are: 16 bytes of an HMAC.
    """

    def __init__(self, seed: str, count: int, votes_each: int) -> None:
        self._seed, self._count, self._votes_each = seed, count, votes_each
        self._size = max(1, min(_COHORT, count // 16))
        self._all_spent = False
        self._spent: list[bytes] = []
        self._finished: list[bytes] = []
        self._cohort = 0
        self._members = self._begin(0)

    def take(self, count: int) -> tuple[list[bytes], int]:
        """Give the voters of the next `count` votes, and how many of these, from the first on, are within the limit.

        When all votes of all voters are used, they go on regardless: such votes are over the limit.
        """
        voters: list[bytes] = []
        within = 0
        while len(voters) < count:
            start = self._taken % len(self._members)
            part = self._members[start : start + count - len(voters)]
            voters += part
            within += 0 if self._all_spent else len(part)
            self._taken += len(part)
            if self._taken == len(self._members) * self._votes_each:
                self._next_cohort()
        return voters, within

    def settle(self) -> None:
        """Whoever ran out of votes since the last call has published them all by now: ``spent`` may give them."""
        if self._finished:
            self._spent = (self._spent + self._finished)[-_SPENT_MAX:]
            self._finished = []

    def spent(self, rng: Random, count: int) -> list[bytes]:
        """Give voters who have no votes left; none if there is none yet."""
        return rng.choices(self._spent, k=count) if self._spent else []

    def anyone(self, rng: Random, count: int) -> list[bytes]:
        """Give voters of whom nothing is used up: for records that never come as far as the limit."""
        return rng.choices(self._members, k=count)

    def _next_cohort(self) -> None:
        if not self._all_spent:
            self._finished += self._members[:: max(1, len(self._members) // _SPENT_OF_COHORT)]
        self._cohort += 1
        if self._cohort * self._size >= self._count:
            self._all_spent = True
            self._cohort = 0
        self._members = self._begin(self._cohort)

    def _begin(self, cohort: int) -> list[bytes]:
        self._taken = 0
        size = min(self._size, self._count - cohort * self._size)
        # One hash for all: 18 bytes make 24 characters, of which each voter has 22.
        drawn = hashlib.shake_128(f"{self._seed}/{cohort}".encode()).digest(18 * size)
        text = urlsafe_b64encode(drawn)
        return [text[start : start + 22] for start in range(0, 24 * size, 24)]
