"""The model, in cases that a pencil can check."""

import math

import pytest
from msgspec.structs import replace

from pipeline.capacity.costs import Costs
from pipeline.capacity.model import Deployment, Peak, forecast, limits

# 100,000 votes/s through a worker, 200,000 through a Redis; nothing else costs anything.
PLAIN = Costs(
    publish_s=0, broker_s=0, worker_s=10e-6, redis_s=5e-6, round_trip_s=0, ledger_bytes=100, log_bytes=300, floor_s=0, merge_s=0
)  # fmt: skip


def test_a_peak_above_the_capacity_leaves_the_difference() -> None:
    said = forecast(PLAIN, Deployment(partitions=12), Peak(votes_per_s=250_000, seconds=4))
    assert said.bottleneck == "workers"
    assert said.backlog == pytest.approx(4 * 150_000)
    assert said.staleness_s == pytest.approx(6)  # the last vote waits for 600,000 others
    assert said.drained_s == pytest.approx(6)
    assert said.ledger_bytes_per_shard == pytest.approx(1_000_000 * 100)
    assert said.log_bytes == pytest.approx(1_000_000 * 300)


def test_what_a_worker_remembers_is_in_files_where_memory_has_no_room_for_it() -> None:
    costs = replace(PLAIN, remembered_bytes=50, remembered_in_memory=1e6, filed_bytes=40)
    deployment, seconds = Deployment(partitions=12, workers=2), 1.0
    few = forecast(costs, deployment, Peak(votes_per_s=40_000, seconds=seconds))
    assert (few.remembered_bytes_per_worker, few.filed_bytes_per_worker) == (20_000 * 50, 0)
    many = forecast(costs, deployment, Peak(votes_per_s=400_000, seconds=seconds))
    assert (many.remembered_bytes_per_worker, many.filed_bytes_per_worker) == (1e6, 200_000 * 40)


def test_what_still_comes_slows_the_draining_but_not_the_last_vote_of_the_peak() -> None:
    said = forecast(PLAIN, Deployment(partitions=12), Peak(votes_per_s=250_000, seconds=4, after_per_s=40_000))
    assert said.staleness_s == pytest.approx(6)
    assert said.drained_s == pytest.approx(600_000 / 60_000)


def test_where_less_is_counted_during_the_peak_another_vote_waits_longest() -> None:
    # All of a core is taken by who publishes: nothing is counted for a minute, and then all at once.
    costs = replace(PLAIN, publish_s=10e-6, worker_s=2e-6, redis_s=1e-6)
    said = forecast(costs, Deployment(partitions=12, workers=12, cores=1), Peak(votes_per_s=100_000, seconds=60))
    assert said.backlog == pytest.approx(6_000_000)
    assert said.staleness_s == pytest.approx(60)


def test_what_never_ends_is_infinite() -> None:
    more = forecast(PLAIN, Deployment(partitions=12), Peak(votes_per_s=250_000, seconds=4, after_per_s=200_000))
    assert (more.staleness_s, more.drained_s) == (math.inf, math.inf)
    said = forecast(PLAIN, Deployment(partitions=12), Peak(votes_per_s=250_000, seconds=4, after_per_s=100_000))
    assert said.drained_s == math.inf


@pytest.mark.parametrize(
    ("partitions", "workers", "rate"),
    [(12, 1, 100_000), (12, 2, 200_000), (12, 5, 400_000), (12, 12, 1_200_000), (12, 20, 1_200_000), (1, 4, 100_000)],
)
def test_the_worker_with_the_most_partitions_decides(partitions: int, workers: int, rate: float) -> None:
    # 5 workers of 12 partitions: two of them have 3, so each third of their rate is a twelfth of all votes.
    assert limits(PLAIN, Deployment(partitions=partitions, workers=workers), 0)["workers"] == pytest.approx(rate)


def test_with_workers_enough_redis_is_next_and_shards_spread_it() -> None:
    peak = Peak(votes_per_s=250_000, seconds=1)
    one = forecast(PLAIN, Deployment(partitions=12, workers=4), peak)
    assert one.bottleneck == "redis"
    assert one.backlog == pytest.approx(50_000)
    three = forecast(PLAIN, Deployment(partitions=12, workers=4, shards=3), peak)
    assert three.bottleneck == "workers"
    assert three.backlog == 0
    assert three.ledger_bytes_per_shard == pytest.approx(one.ledger_bytes_per_shard / 3)


def test_one_partition_does_one_thing_after_the_other() -> None:
    # 10 us in the worker, 5 us in Redis, and 10 ms of way for a chunk of 2000: 20 us a vote.
    costs = replace(PLAIN, round_trip_s=10e-3)
    found = limits(costs, Deployment(partitions=1, workers=4, shards=4, chunk_records=2_000), 0)
    assert found["partitions"] == pytest.approx(50_000)
    assert min(found, key=lambda part: found[part]) == "partitions"


def test_a_shared_machine_gives_the_publisher_its_part_first() -> None:
    # 2 cores; 100,000 votes/s cost the publisher half of one; the other 1.5 count at 15 us a vote.
    costs = replace(PLAIN, publish_s=5e-6)
    deployment = Deployment(partitions=12, workers=2, cores=2)
    assert limits(costs, deployment, 100_000)["cores"] == pytest.approx(100_000)
    assert limits(costs, deployment, 0)["cores"] == pytest.approx(2 / 15e-6)
    assert limits(costs, deployment, 1_000_000)["cores"] == 0
    # 200,000/s for 3 s: one core is left and counts 66,667/s; 400,000 wait, and are drained at 133,333/s.
    said = forecast(costs, deployment, Peak(votes_per_s=200_000, seconds=3))
    assert said.backlog == pytest.approx(400_000)
    assert said.drained_s == pytest.approx(3)


def test_below_saturation_chunks_wait_as_in_an_m_d_1_queue() -> None:
    # Half loaded: 0.5 / (2 x 0.5) = half a chunk's service time, 2000 / 100,000 = 20 ms.
    costs = replace(PLAIN, floor_s=0.003, merge_s=0.1)
    said = forecast(costs, Deployment(partitions=12, chunk_records=2_000), Peak(votes_per_s=50_000, seconds=60))
    assert said.backlog == said.drained_s == 0
    assert said.staleness_s == pytest.approx(0.003 + 0.1 + 0.010)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Deployment(partitions=0),
        lambda: Deployment(partitions=1, cores=0),
        lambda: Peak(votes_per_s=0, seconds=1),
        lambda: Peak(votes_per_s=1, seconds=1, after_per_s=2),
        lambda: Costs(worker_s=-1),
        lambda: Costs(redis_s=math.nan),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: type) -> None:
    with pytest.raises(ValueError, match=r"at least|above 0|not more"):
        wrong()
