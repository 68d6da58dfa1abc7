"""What the peers in Python share: what the bench tells them, and their way into Redis."""

import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Self

import msgspec
import redis

WRITE_EVERY_S = 0.2


@dataclass(frozen=True)
class Setup:
    """What the bench says; ``bench.peers`` has what each is."""

    kafka: str
    topic: str
    partitions: int
    group: str
    redis_url: str
    state: str
    votes_per_voter: int

    @classmethod
    def read(cls) -> Self:
        """Read the environment."""
        env = os.environ
        return cls(
            env["PEER_KAFKA"],
            env["PEER_TOPIC"],
            int(env["PEER_PARTITIONS"]),
            env["PEER_GROUP"],
            env["PEER_REDIS_URL"],
            env["PEER_STATE"],
            int(env["PEER_VOTES_PER_VOTER"]),
        )


class Vote(msgspec.Struct, gc=False):
    """What counting needs of a vote; msgspec skips the rest."""

    type: str
    vote_id: str
    option_id: str
    voter_id: str
    cast_at: int

    @property
    def cell(self) -> str:
        """The field that it belongs to if it counts."""
        return f"{self.cast_at - self.cast_at % 1000}/{self.option_id}"


class _Kind(msgspec.Struct, gc=False):
    type: str


_decode = msgspec.json.Decoder(Vote).decode
_kind = msgspec.json.Decoder(_Kind).decode


def parse(value: bytes | None) -> Vote | None:
    """Read a value. None: a poll marker, which is no vote."""
    try:
        return _decode(value or b"")
    except msgspec.ValidationError:
        if _kind(value or b"").type != "vote":
            return None
        raise


class Air:
    """Numbers that only grow, written into Redis as they are: what is written twice is the same."""

    def __init__(self, url: str, shard: int | str = 0) -> None:
        self.numbers: Counter[str] = Counter()
        self._redis = redis.Redis.from_url(url)
        self._key = f"tally:{shard}"
        self._due = 0.0

    def write_if_due(self) -> None:
        """Write what there is, at most five times a second."""
        now = time.monotonic()
        if now >= self._due and self.numbers:
            self._due = now + WRITE_EVERY_S
            self._redis.hset(self._key, mapping={name: str(number) for name, number in self.numbers.items()})
