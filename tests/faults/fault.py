"""A fault: what is done to a running show, for how long, and what undoes it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipeline.local.parts import Part
from tests.faults.scene import Scene

Act = Callable[[Scene], Awaitable[None]]


async def nothing(_scene: Scene) -> None:
    """Most faults that end by themselves need no healing."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of trouble.

    Attributes:
        name: as the report calls it.
        inject: begins it.
        heal: ends it, after `lasts_s`: a server is started again, a stopped process resumed. What the product must do by
            itself is not among it.
        through: the servers that workers (and, for Kafka, the publisher) reach through the proxy.
        tally, archive: how many workers of each there are.
        static: workers have instance ids, as where a supervisor starts them again.
        appendonly: Redis writes an append-only file.
        small_disk: ClickHouse has a small disk of its own.
        cluster: three brokers instead of one.
        child: the show is published by a process of its own.
        edge: the votes are those of real viewers, through an edge.
        prepare: called before the show.
        overlap: two archive workers may store the same records meanwhile; readers see them once. Otherwise each record must
            be stored once, too.
        refuses: publishing must fail with an error meanwhile, for nothing can be acknowledged.
    """

    name: str
    inject: Act
    heal: Act = nothing
    lasts_s: float = 0.0
    through: frozenset[Part] = frozenset()
    tally: int = 1
    archive: int = 1
    static: bool = False
    appendonly: bool = False
    small_disk: bool = False
    cluster: bool = False
    child: bool = False
    edge: bool = False
    prepare: Act = nothing
    overlap: bool = False
    refuses: bool = False
