"""A topic that is deleted and made anew under running workers: they stop and say so, before they count or store any of it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from pipeline.archive.migrate import migrate
from pipeline.archive.recount import stored_records
from pipeline.ledger.reader import open_ledgers
from pipeline.local.process import Child
from pipeline.local.stack import LocalStack
from pipeline.log.connection import client_options
from pipeline.log.topics import open_topics
from pipeline.settings import Settings
from tests.workers import eventually, folded, problems, running

from .test_exact import SCRIPT, play

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@asynccontextmanager
async def administered(found: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(found))
    await admin.start()
    yield admin
    await admin.close()


async def make_anew(found: Settings, workers: Sequence[Child]) -> None:
    async with administered(found) as admin:
        await admin.delete_topics([found.topic])

    async def all_say_so() -> bool:
        return all(["kafka" in await problems(worker) for worker in workers])

    await eventually(all_say_so, "no worker is ready without its topic")
    async with open_topics(found) as topics:
        assert await topics.create()


async def test_a_topic_made_anew_stops_its_workers(system: LocalStack, topic: Settings) -> None:
    migrate(topic)
    expected = await play(topic)
    with running(system, topic, "tally") as tally, running(system, topic, "archive") as archive:
        await folded(topic)

        async def all_stored() -> bool:
            return await stored_records(topic) == expected.records

        await eventually(all_stored, "all stored")
        before = await positions(topic)
        await make_anew(topic, [tally, archive])
        await play(topic, replace(SCRIPT, records=4_000))

        await all_end(tally, archive, saying="it is another log (the topic was made anew?)")
        assert await positions(topic) == before
        assert await stored_records(topic) == expected.records


async def test_partitions_added_to_a_topic_stop_its_workers(system: LocalStack, topic: Settings) -> None:
    migrate(topic)
    with running(system, topic, "tally") as tally, running(system, topic, "archive") as archive:
        async with administered(topic) as admin:
            await admin.create_partitions({topic.topic: NewPartitions(total_count=topic.partitions + 1)})
        await all_end(tally, archive, saying=f"topic {topic.topic} has partitions [{topic.partitions}]")


async def all_end(*workers: Child, saying: str) -> None:
    async def have_ended() -> bool:
        return not any(worker.alive for worker in workers)

    await eventually(have_ended, "they have ended")
    for worker in workers:
        assert saying in worker.launch.log_file.read_text()


async def positions(found: Settings) -> dict[int, int]:
    async with open_ledgers(found) as ledgers:
        return {head.partition: head.next_offset for head in await ledgers.heads()}
