"""A topic that is deleted and made anew under running workers: they stop and say so, before they count or store any of it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient

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


async def make_anew(found: Settings, workers: Sequence[Child]) -> None:
    admin = AIOKafkaAdminClient(**client_options(found))
    await admin.start()
    await admin.delete_topics([found.topic])
    await admin.close()

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

        async def have_ended() -> bool:
            return not tally.alive and not archive.alive

        await eventually(have_ended, "both have ended")
        for worker in (tally, archive):
            assert "it is another log (the topic was made anew?)" in worker.launch.log_file.read_text()
        assert await positions(topic) == before
        assert await stored_records(topic) == expected.records


async def positions(found: Settings) -> dict[int, int]:
    async with open_ledgers(found) as ledgers:
        return {head.partition: head.next_offset for head in await ledgers.heads()}
