"""A queueing model of the way from the log to the ledgers: what waits, for how long, and because of what.

The parts are in series and each serves votes at a rate of its own, so the slowest decides: the queue before it is the log.
Votes are so many, and chunks so short, that they are treated as a fluid (Newell, Applications of Queueing Theory, 1971): while
more arrives than is served the backlog grows by the difference, afterwards it shrinks by what is left. Below saturation a
chunk waits for others as in an M/D/1 queue (Pollaczek and Khinchine).

Keys are taken as spread evenly over partitions, partitions over workers and shards as evenly as whole numbers allow: the one
with the most decides.
"""

import math
from dataclasses import dataclass

from pipeline.capacity.costs import Costs


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What there is. `cores`: everything shares a machine with so many; None: each part has cores enough of its own."""

    partitions: int
    workers: int = 1
    shards: int = 1  # Redis servers
    cores: float | None = None
    chunk_records: int = 6_000

    def __post_init__(self) -> None:
        least = min(self.partitions, self.workers, self.shards, self.chunk_records)
        if least < 1 or (self.cores is not None and not 0 < self.cores < math.inf):
            raise ValueError("partitions, workers, shards and records of a chunk are at least 1, cores above 0")


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What comes: `votes_per_s` for so many seconds, and `after_per_s` from then on."""

    votes_per_s: float
    seconds: float
    after_per_s: float = 0.0
    votes_before: int = 0  # in the ledgers already

    def __post_init__(self) -> None:
        if not (0 < self.votes_per_s < math.inf and 0 < self.seconds < math.inf):
            raise ValueError("a peak has a rate and a length above 0")
        if not 0 <= self.after_per_s <= self.votes_per_s or self.votes_before < 0:
            raise ValueError("what comes after a peak is not more than the peak, and nothing is negative")


@dataclass(frozen=True)
class Forecast:
    """What will be. Instants of the air are taken from the broker's append."""

    limits: dict[str, float]  # what each part could carry while the peak lasts, votes/s
    votes_per_s: float  # what is counted while the peak lasts, at most
    afterwards_per_s: float  # and after it
    backlog: float  # votes that wait at the end of the peak
    staleness_s: float  # how old what the air shows is at worst
    drained_s: float  # from the end of the peak until nothing waits; infinite: it never ends
    ledger_bytes_per_shard: float
    remembered_bytes_per_worker: float  # in memory, beside some 290 MB of its own
    filed_bytes_per_worker: float  # in its files
    log_bytes: float  # of this peak

    @property
    def bottleneck(self) -> str:
        """The part that is the first to have too much to do."""
        return min(self.limits, key=lambda part: self.limits[part])


def limits(costs: Costs, deployment: Deployment, arriving_per_s: float) -> dict[str, float]:
    """Give what each part can carry, in votes/s, while so many arrive."""
    partitions = deployment.partitions
    one_vote = costs.worker_s + costs.redis_s + costs.round_trip_s / deployment.chunk_records
    found = {
        "workers": _rate(costs.worker_s * _busiest(partitions, deployment.workers)),
        "redis": _rate(costs.redis_s * _busiest(partitions, deployment.shards)),
        "partitions": _rate(one_vote / partitions),  # a partition's chunks go one after the other
    }
    if deployment.cores is not None:
        # Whoever publishes takes its part first: votes come whether they are counted or not.
        left = deployment.cores - costs.publish_s * arriving_per_s
        found["cores"] = max(0.0, left) * _rate(costs.broker_s + costs.worker_s + costs.redis_s + costs.others_s)
    return found


def forecast(costs: Costs, deployment: Deployment, peak: Peak) -> Forecast:
    """Say what a peak does to a system that is idle before it."""
    during = limits(costs, deployment, peak.votes_per_s)
    capacity, after = min(during.values()), min(limits(costs, deployment, peak.after_per_s).values())
    backlog = max(0.0, peak.votes_per_s - capacity) * peak.seconds
    spare = after - peak.after_per_s
    votes = peak.votes_before + peak.votes_per_s * peak.seconds
    of_worker = votes * _busiest(deployment.partitions, deployment.workers)
    remembered = of_worker * costs.remembered_bytes
    return Forecast(
        limits=during,
        votes_per_s=capacity,
        afterwards_per_s=after,
        backlog=backlog,
        staleness_s=costs.floor_s + costs.merge_s + _waiting_s(costs, deployment, peak, capacity, after, backlog),
        drained_s=0.0 if backlog == 0 else (backlog / spare if spare > 0 else math.inf),
        ledger_bytes_per_shard=votes * costs.ledger_bytes * _busiest(deployment.partitions, deployment.shards),
        remembered_bytes_per_worker=min(remembered, costs.remembered_in_memory),
        filed_bytes_per_worker=of_worker * costs.filed_bytes if remembered > costs.remembered_in_memory else 0.0,
        log_bytes=peak.votes_per_s * peak.seconds * costs.log_bytes,
    )


def _waiting_s(  # noqa: PLR0913, PLR0917  # all of it decides
    costs: Costs, deployment: Deployment, peak: Peak, capacity: float, after: float, backlog: float
) -> float:
    """Give how long the vote waits that waits longest: for all before it, or for a chunk or two.

    Of a backlog that is the peak's last one, or, where far less is counted during the peak than after it, the one counted at
    its end.
    """
    if backlog > 0:
        grows = after <= 0 or after < peak.after_per_s
        return math.inf if grows else backlog / min(after, peak.votes_per_s)
    load = peak.votes_per_s / capacity
    if load >= 1:
        return 0.0  # exactly full, and a fluid has no chance arrivals
    chunk_s = deployment.chunk_records / capacity + costs.round_trip_s
    return load / (2 * (1 - load)) * chunk_s


def _busiest(partitions: int, over: int) -> float:
    """Give the part of all partitions that the busiest of so many has."""
    return math.ceil(partitions / over) / partitions


def _rate(cost_s: float) -> float:
    return 1 / cost_s if cost_s > 0 else math.inf
