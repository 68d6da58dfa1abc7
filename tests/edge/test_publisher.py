"""The publisher library on real Kafka: what it acknowledges is there, once, as it must be; what it refuses is not."""

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import msgspec
import orjson
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from pipeline.clock import now_ms
from pipeline.domain.poll import Poll
from pipeline.domain.record import Option, PollOpened, Vote, decode
from pipeline.edge import BackpressureError, Ballot, BallotError, PublishError, VotePublisher
from pipeline.edge import ingest as ingest_module
from pipeline.edge import publisher as module
from pipeline.edge.ingest import Ingest
from pipeline.edge.polls import Polls
from pipeline.errors import TopicMismatchError
from pipeline.local.stack import LocalStack, Part
from pipeline.log.lanes import Lanes
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import partition_of
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError
from tests.workers import eventually

from .viewers import EDGE

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def ballot(**fields: Any) -> Ballot:
    good: dict[str, Any] = {
        "show_id": "gala",
        "poll_id": "best",
        "option_id": "ada",
        "voter": f"account {uuid.uuid4()}",
    }
    return Ballot(**{"vote_id": str(uuid.uuid4()), **good, **fields})


@retry(
    retry=retry_if_exception_type(confluent_kafka.KafkaException),
    stop=stop_after_delay(20),
    wait=wait_fixed(0.1),
    reraise=True,
)
def end_of(consumer: confluent_kafka.Consumer, place: confluent_kafka.TopicPartition) -> int:
    """Ask for a partition's end; a partition of a topic just made may for a moment have no leader."""
    _begin, end = consumer.get_watermark_offsets(place, timeout=20)
    return int(end)


def log_of(found: Settings) -> list[tuple[int, bytes, Vote]]:
    """Read the whole topic: partition, key, vote."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": found.kafka, "group.id": "look"})
    try:
        places = [confluent_kafka.TopicPartition(found.topic, number, 0) for number in range(found.partitions)]
        ends = [end_of(consumer, place) for place in places]
        consumer.assign(places)
        messages = [message for _ in range(sum(ends)) if (message := consumer.poll(20)) is not None]
    finally:
        consumer.close()
    return [(message.partition(), message.key(), decode(message.value())) for message in messages]  # type: ignore[misc]


@pytest.fixture
def ready(topic: Settings) -> Settings:
    return Settings(**{**topic.model_dump(exclude_none=True), **EDGE})


async def test_a_vote_is_stamped_pseudonymous_and_where_javas_client_would_put_it(ready: Settings) -> None:
    settings = ready.model_copy(update={"edge_id": "edge-7"})
    before = now_ms()
    async with VotePublisher(settings) as publisher:
        sent = [await publisher.publish(ballot(voter="account 4711", channel="app")) for _ in range(3)]
        sent += await publisher.publish_many([ballot(option_id="bo") for _ in range(50)])
        assert publisher.in_flight == 0
    found = log_of(settings)
    assert sorted(vote.vote_id for _, _, vote in found) == sorted(vote.vote_id for vote in sent)
    assert {vote for _, _, vote in found} == set(sent)
    for partition, key, vote in found:
        assert key == vote.voter_id.encode()
        assert partition == partition_of(key, settings.partitions)
        assert vote.edge_id == "edge-7"
        assert before <= vote.cast_at <= now_ms()
        assert "4711" not in vote.voter_id
    assert len({vote.voter_id for vote in sent[:3]}) == 1


async def test_a_vote_that_would_be_too_old_for_the_log_is_not_published(ready: Settings) -> None:
    async with VotePublisher(ready) as publisher:
        for cast_at in (now_ms() - 31_000, now_ms() + 6_000):
            with pytest.raises(BallotError, match="cast_at"):
                await publisher.publish(ballot(cast_at=cast_at))
        good = await publisher.publish(ballot(cast_at=now_ms() - 29_000))
    assert [vote for _, _, vote in log_of(ready)] == [good]


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_retry_after_the_close_is_acknowledged_only_if_the_first_could_count(
    ready: Settings, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    opened = PollOpened("gala", "best", now_ms(), (Option("ada"), Option("bo")))
    poll, polls = Poll(opened, frozenset({"ada", "bo"})), Polls()
    polls.learn(poll)
    body = orjson.dumps({"vote_id": str(uuid.uuid4()), "option_id": "ada", "voter": "account 4711"})
    answers: asyncio.Queue[ProblemError | None] = asyncio.Queue()
    async with VotePublisher(ready) as publisher:
        ingest = Ingest(publisher, polls, ready)
        if is_late:
            monkeypatch.setattr(ingest_module, "MAX_AGE_MS", -1)  # as if it had taken longer than a vote may be old
        ingest.take_one(poll.id, body, "198.51.100.4", answers.put_nowait)
        assert await asyncio.wait_for(answers.get(), 20) is None
        polls.learn(msgspec.structs.replace(poll, closed_at=now_ms()))
        with pytest.raises(ProblemError, match="is closed") if is_late else contextlib.nullcontext():
            ingest.take_one(poll.id, body, "198.51.100.4", answers.put_nowait)
            assert await asyncio.wait_for(answers.get(), 20) is None
    assert len(log_of(ready)) == 1


async def test_a_topic_of_other_partitions_is_refused(ready: Settings) -> None:
    with pytest.raises(TopicMismatchError, match="AIRTALLY_PARTITIONS=4"):
        async with VotePublisher(ready.model_copy(update={"partitions": 12})):
            pass


async def test_nothing_of_a_bad_lot_is_published(ready: Settings) -> None:
    async with VotePublisher(ready) as publisher:
        with pytest.raises(BallotError):
            await publisher.publish_many([ballot(), ballot(option_id="No"), ballot()])
        assert await publisher.publish_many([]) == []
    assert log_of(ready) == []


async def test_what_waits_is_bounded(ready: Settings) -> None:
    async with VotePublisher(ready, most_in_flight=10, linger_ms=200) as publisher:
        many = [asyncio.create_task(publisher.publish(ballot())) for _ in range(25)]
        answers = await asyncio.gather(*many, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, BackpressureError)]
        assert len(refused) == 15
        with pytest.raises(BackpressureError):
            await publisher.publish_many([ballot() for _ in range(11)])
        await publisher.publish_many([ballot() for _ in range(10)])
    assert len(log_of(ready)) == 20


async def test_leaving_waits_for_what_is_on_its_way(ready: Settings) -> None:
    async with VotePublisher(ready, linger_ms=300) as publisher:
        waiting = [asyncio.create_task(publisher.publish(ballot())) for _ in range(20)]
        await asyncio.sleep(0.05)
    votes = await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert {vote for _, _, vote in log_of(ready)} == set(votes)


@pytest.fixture
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A broker that a test may kill."""
    with LocalStack(tmp_path_factory.mktemp("own"), [Part.KAFKA]) as stack:
        yield stack


async def test_a_broker_that_is_killed_costs_time_and_nothing_else(own_kafka: LocalStack) -> None:
    settings = Settings(kafka=own_kafka.addresses.kafka, topic="kill", partitions=4, **EDGE)
    async with open_topics(settings) as topics:
        await topics.create()
    acknowledged: list[Vote] = []
    refused = 0

    async def viewers(publisher: VotePublisher, stopped: asyncio.Event) -> None:
        nonlocal refused
        while not stopped.is_set():
            try:
                acknowledged.append(await publisher.publish(ballot()))
            except BackpressureError:
                refused += 1
                await asyncio.sleep(0.05)

    stopped = asyncio.Event()
    async with VotePublisher(settings, most_in_flight=500) as publisher:
        crowd = [asyncio.create_task(viewers(publisher, stopped)) for _ in range(600)]
        await asyncio.sleep(1)
        await asyncio.to_thread(own_kafka.children["kafka"].kill)
        before = len(acknowledged)
        await asyncio.sleep(1)
        assert publisher.in_flight <= 500
        await asyncio.to_thread(own_kafka.restart, "kafka")

        async def goes_on() -> bool:
            return len(acknowledged) > before + 1_000

        await eventually(goes_on, "votes are acknowledged again")
        stopped.set()
        await asyncio.gather(*crowd)
    assert refused > 0
    found = [vote for _, _, vote in log_of(settings)]
    assert len(found) == len(set(found))  # idempotent: a batch that is sent again is not there twice
    assert set(acknowledged) == set(found)


async def test_a_stall_is_known_and_ends(own_kafka: LocalStack) -> None:
    settings = Settings(kafka=own_kafka.addresses.kafka, topic="stall", partitions=4, **EDGE)
    async with open_topics(settings) as topics:
        await topics.create()
    broker = own_kafka.children["kafka"].identity.pid
    async with VotePublisher(settings) as publisher:
        await publisher.publish(ballot())
        await asyncio.sleep(0.5)
        assert publisher.stalled_s() == 0.0  # quiet is no stall
        os.kill(broker, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(publisher.publish(ballot()))
            await asyncio.sleep(0.5)
            assert 0.4 < publisher.stalled_s() < 5.0
            later = asyncio.create_task(publisher.publish(ballot()))
            await asyncio.sleep(0.5)
            assert 0.9 < publisher.stalled_s() < 5.0  # what comes meanwhile does not hide it
        finally:
            os.kill(broker, signal.SIGCONT)
        await asyncio.wait_for(asyncio.gather(waiting, later), 20)
        assert publisher.stalled_s() == 0.0


async def test_who_publishes_does_not_wait_for_ever(own_kafka: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACKNOWLEDGED_WITHIN_S", 1.0)
    settings = Settings(kafka=own_kafka.addresses.kafka, topic="away", partitions=4, **EDGE)
    async with open_topics(settings) as topics:
        await topics.create()
    async with VotePublisher(settings, close_s=0.5) as publisher:
        await publisher.publish(ballot())
        producer = await publisher._lanes._link.producer()
        await asyncio.to_thread(own_kafka.children["kafka"].kill)
        async with asyncio.timeout(10):
            with pytest.raises(PublishError, match="same id"):
                await publisher.publish(ballot())
    assert producer._sender.sender_task.done()  # nothing goes on trying
    assert publisher.in_flight == 0


async def test_who_leaves_need_not_wait_for_the_linger(ready: Settings) -> None:
    told: list[object] = []
    async with Lanes(ready, linger_ms=60_000) as lanes:
        lanes.submit([(b"key", b"good")], told.append)
        lanes.submit([(b"other", b"good"), (b"key", b"good")], told.append)
    assert told == [None, None]
    assert lanes.in_flight == 0
    with pytest.raises(BackpressureError, match="closed"):
        lanes.submit([(b"key", b"late")], told.append)


async def test_a_producer_that_fails_is_replaced_and_its_votes_are_told(ready: Settings) -> None:
    told: list[object] = []
    async with Lanes(ready) as lanes:
        lanes.submit([(b"key", b"x" * (3 << 20))], told.append)  # more than the broker takes
        lanes.submit([(b"key", b"good")], told.append)

        async def both_told() -> bool:
            return len(told) == 2

        await eventually(both_told, "both told")
        assert isinstance(told[0], PublishError)
        again: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        lanes.submit([(b"key", b"good")], again.set_result)
        assert await asyncio.wait_for(again, 20) is None
    async with LogOffsets(ready) as offsets:
        assert sum((await offsets.end()).values()) == 1 + (told[1] is None)


async def test_a_bug_in_sending_is_told_and_does_not_end_a_lane(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise AssertionError("a bug")

    async with Lanes(ready) as lanes:
        monkeypatch.setattr(await lanes._link.producer(), "send_batch", broken)
        told: list[object] = []
        for _ in range(2):
            lanes.submit([(b"key", b"good")], told.append)
            while lanes.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert isinstance(told[0], PublishError)
        assert told[1] is None


async def test_whoever_is_told_may_fail(ready: Settings) -> None:
    def fails(_error: object) -> None:
        raise ZeroDivisionError

    async with Lanes(ready, linger_ms=50) as lanes:
        told: list[object] = []
        lanes.submit([(b"key", b"good")], fails)
        lanes.submit([(b"key", b"good")], told.append)
    assert told == [None]


async def test_a_partition_that_stands_still_holds_up_nobody_else(ready: Settings) -> None:
    async with Lanes(ready) as lanes:
        key = b"key"
        other = next(lane for number, lane in enumerate(lanes._lanes) if number != partition_of(key, ready.partitions))
        other.task = asyncio.create_task(asyncio.sleep(60))  # as if its batch were on its way, to a leader that is away
        for _ in range(3):
            told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            lanes.submit([(key, b"good")], told.set_result)
            assert await asyncio.wait_for(told, 20) is None
        other.task.cancel()
        other.task = None
