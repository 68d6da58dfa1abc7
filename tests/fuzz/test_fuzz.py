"""A hundred thousand mutated records through a running tally and archive. The long form: `make fuzz`."""

import asyncio

import pytest

from pipeline.archive.migrate import migrate
from pipeline.domain.outcome import Outcome
from pipeline.domain.record import decode
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from tests.workers import running

from .campaign import caught_up, differences, in_redis, in_sql, misread, publish
from .corpus import Corpus

RECORDS = 100_000


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_a_hundred_thousand_records_have_the_same_outcomes_in_both_views(
    system: LocalStack, topic: Settings
) -> None:
    await asyncio.to_thread(migrate, topic)
    with running(system, topic, "tally"), running(system, topic, "archive"):
        await publish(topic, RECORDS, seed=1)
        assert await caught_up(topic) > RECORDS
    redis, sql = await in_redis(topic), in_sql(topic)
    assert not (lines := list(differences(topic, redis, sql))), "\n".join(lines)
    assert not (lines := list(misread(topic))), "\n".join(lines)
    assert {what for of_partition in redis.values() for show, _, what in of_partition if not show} == set(Outcome)
    # The negative control: the same comparison notices one vote more.
    key = next(key for key in redis[0] if key[2].startswith("votes for"))
    redis[0][key] += 1
    assert list(differences(topic, redis, sql)) != []


def test_mutations_leave_some_valid_and_break_others() -> None:
    values = [value for _, value in Corpus(2).records(20_000, 1_767_297_600_000)]
    valid = sum(decode(value) is not None for value in values) / len(values)
    assert 0.45 < valid < 0.75
    assert len(set(values)) > 19_000


def test_a_seed_gives_the_same_records_again() -> None:
    first, again, other = (list(Corpus(seed).records(500, 1)) for seed in (3, 3, 4))
    assert first == again != other
