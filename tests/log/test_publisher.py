"""Publishing: the partition is Kafka's own choice for the key, markers reach all partitions, order is kept."""

import os
import random
import signal
import uuid

import confluent_kafka
import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clock import now_ms
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import PollId
from pipeline.domain.record import Option, PollClosed, PollFinal, PollOpened, Vote, encode
from pipeline.errors import PublishError
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.partitioner import java_partition, java_partitions, murmur2
from pipeline.log.publisher import BATCH_BYTES, Publisher, partition_of
from pipeline.settings import Settings
from tests.workers import folded, found_in_redis, running


# From Kafka's own tests of its murmur2 (UtilsTest.testMurmur2), taken modulo 2^31 and then 1000.
@pytest.mark.parametrize(
    ("key", "hash_"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("abc", 479470107)],
)
def test_partitions_are_those_of_the_java_client(key: str, hash_: int) -> None:
    assert partition_of(key.encode(), 1000) == (hash_ & 0x7FFFFFFF) % 1000


@given(st.binary(max_size=200))
def test_the_hash_is_that_of_aiokafka(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.integers(0, 40).flatmap(lambda size: st.lists(st.binary(min_size=size, max_size=size), max_size=30)))
def test_many_keys_of_a_length_have_the_partitions_of_each(keys: list[bytes]) -> None:
    assert java_partitions(keys, 48) == [java_partition(key, 48) for key in keys]


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_many_keys_of_any_length_have_the_partitions_of_each(keys: list[bytes]) -> None:
    assert java_partitions(keys, 48) == [java_partition(key, 48) for key in keys]


def opened(votes_per_voter: int = 1) -> PollOpened:
    return PollOpened("gala", "best", now_ms(), (Option("ada"), Option("bo")), votes_per_voter)


def vote(voter: str, option: str = "ada") -> Vote:
    return Vote(str(uuid.uuid4()), "gala", "best", option, voter, now_ms(), "edge-1", "app")


@pytest.mark.real
async def test_a_marker_reaches_every_partition_once(topic: Settings) -> None:
    async with Publisher(topic) as publisher, LogOffsets(topic) as offsets:
        placed = await publisher.publish_marker(opened())
        assert placed == dict.fromkeys(range(topic.partitions), 0)
        assert await offsets.end() == dict.fromkeys(range(topic.partitions), 1)


@pytest.mark.real
async def test_many_records_of_any_size_arrive_in_order(topic: Settings) -> None:
    sizes = [1, 10, BATCH_BYTES // 3, BATCH_BYTES // 3, BATCH_BYTES // 3, 5, BATCH_BYTES * 2, 7, None, 3]
    key = b"the same voter"
    partition = partition_of(key, topic.partitions)
    async with Publisher(topic) as publisher:
        await publisher.publish_many((key, None if size is None else b"x" * size) for size in sizes)
        assert await publisher.publish(key, b"last") == (partition, len(sizes))
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": topic.kafka, "group.id": "look", "fetch.message.max.bytes": 4 << 20}
    )
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic.topic, partition, 0)])
        values = [message.value() for message in consumer.consume(len(sizes) + 1, timeout=20)]
    finally:
        consumer.close()
    assert [None if value is None else len(value) for value in values] == [*sizes, len(b"last")]


@pytest.mark.real
async def test_publishing_fails_when_nobody_acknowledges(system: LocalStack, topic: Settings) -> None:
    """aiokafka by itself would try for ever, since it is idempotent."""
    broker = system.children["kafka"].identity.pid
    async with Publisher(topic, acknowledged_within_s=1) as publisher:
        await publisher.publish_marker(opened())
        os.kill(broker, signal.SIGSTOP)
        try:
            with pytest.raises(PublishError, match="in-sync replicas"):
                await publisher.publish_vote(vote("ann"))
            with pytest.raises(PublishError, match=r"partitions \[0, 1, 2, 3\]"):
                await publisher.publish_marker(opened())
            with pytest.raises(PublishError, match="again with the same ids"):
                await publisher.publish_many([(b"bob", encode(vote("bob")))])
        finally:
            os.kill(broker, signal.SIGCONT)


@pytest.mark.real
async def test_a_librdkafka_producer_that_follows_the_schemas_is_counted(system: LocalStack, topic: Settings) -> None:
    async with Publisher(topic) as publisher:
        await publisher.publish_marker(opened())
        votes = [vote(f"voter-{number}", random.choice(["ada", "bo"])) for number in range(500)]
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": topic.kafka,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "acks": "all",
            }
        )
        partitions: dict[bytes, int] = {}

        def delivered(error: object, message: confluent_kafka.Message) -> None:
            assert error is None
            partitions[message.key()] = message.partition()

        for each in (*votes, *votes[:50]):  # fifty are sent again
            producer.produce(topic.topic, encode(each), key=each.voter_id.encode(), on_delivery=delivered)
        assert producer.flush(30) == 0
        assert partitions == {
            each.voter_id.encode(): partition_of(each.voter_id.encode(), topic.partitions) for each in votes
        }
        await publisher.publish_marker(PollClosed("gala", "best", now_ms() + 1))
        await publisher.publish_marker(PollFinal("gala", "best"))
    with running(system, topic, "tally"):
        await folded(topic)
    says = await found_in_redis(topic, PollId("gala", "best"))
    assert (says.counted, says.outcomes[Outcome.DUPLICATE]) == (500, 50)
    assert says.totals == {option: sum(each.option_id == option for each in votes) for option in ("ada", "bo")}
