"""Which way a record takes into the log: through the edge, from one in front of it, or directly.

An edge lets pass only what may count. What is spoilt, misrouted, late or for nobody goes directly, as from somebody who
writes into Kafka without an edge. Of the rest, a part of the voters votes through the edge, with all their votes: the edge
knows them by a pseudonym of its own, so one who took both ways would be two.
"""

import zlib
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

from pipeline.domain.outcome import Outcome
from pipeline.show.expectation import Block

ONE_IN = 4  # of the voters: their votes go through the edge

_LET_PASS = frozenset((Outcome.COUNTED, Outcome.DUPLICATE, Outcome.OVER_LIMIT))

Voted = tuple[bytes, bytes]  # who votes, and the vote as a record


class Forwards(Protocol):
    """What a player needs of edges in front."""

    def forward(self, votes: Sequence[Voted]) -> Awaitable[None]:
        """Send votes through the edge, those of a voter in order; give what to await until each is acknowledged."""


class Ways(NamedTuple):
    """A block's records, in its order."""

    direct: list[tuple[bytes | None, bytes | None]]  # key and value
    forwarded: list[Voted]


def ways_of(block: Block) -> Ways:
    """Part a block."""
    ways = Ways([], [])
    passes = [fate.outcome in _LET_PASS for fate in block.fates]
    for key, value, fate in zip(block.keys, block.values, block.fate_of, strict=True):
        if passes[fate] and key is not None and value is not None and zlib.crc32(key) % ONE_IN == 0:
            ways.forwarded.append((key, value))
        else:
            ways.direct.append((key, value))
    return ways
