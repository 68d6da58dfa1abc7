"""The count on stock Faust, as its user guide advises: an agent over a topic keyed by voter, and tables with changelogs.

At least once: a table's changelog and the commit of offsets are not one step, and ``exactly_once`` has open data loss.
"""

import asyncio
import sys
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.peers.tallies import WRITE_EVERY_S, Air, Setup, Vote, parse

UUID_LENGTH = 36

setup = Setup.read()
air = Air(setup.redis_url)
app = faust.App(
    setup.group,
    broker=f"kafka://{setup.kafka}",
    store="memory://",
    datadir=setup.state,
    topic_partitions=setup.partitions,
    topic_disable_leader=True,
    broker_max_poll_records=5_000,
    producer_linger=0.02,
    stream_buffer_maxsize=65_536,
    web_enabled=False,
)
topic = app.topic(setup.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
voters = app.Table("voters", default=str, partitions=setup.partitions)
numbers = app.Table("numbers", default=int, partitions=setup.partitions)


@app.agent(topic)
async def count(stream: Any) -> None:
    """Count each vote; the tables' changes follow it into the partition that it came from."""
    async for event in stream.events():
        vote = parse(event.value)
        if vote is not None:
            name = outcome(vote)
            numbers[f"{event.message.partition}:{name}"] += 1


def outcome(vote: Vote) -> str:
    """Dedupe by vote id, and hold the voter to the limit."""
    ids = voters[vote.voter_id]
    if vote.vote_id in ids:
        return "duplicate"
    voters[vote.voter_id] = ids + vote.vote_id
    return "over_limit" if len(ids) >= UUID_LENGTH * setup.votes_per_voter else vote.cell


@app.timer(WRITE_EVERY_S)
async def write() -> None:
    """Write the sums over the partitions of this worker."""
    sums: dict[str, int] = {}
    for key, number in numbers.items():
        name = key.partition(":")[2]
        sums[name] = sums.get(name, 0) + number
    air.numbers.update({name: number - air.numbers[name] for name, number in sums.items()})
    air.write_if_due()


async def make_changelogs() -> None:
    """Make the tables' topics before the worker starts, as is usual in production: it would meet votes before it knows them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=setup.kafka)
    await admin.start()
    names = [f"{setup.group}-{table.name}-changelog" for table in (voters, numbers)]
    compacted = {"cleanup.policy": "compact"}
    await admin.create_topics([NewTopic(name, setup.partitions, 1, topic_configs=compacted) for name in names])
    await admin.close()


if __name__ == "__main__":
    asyncio.run(make_changelogs())
    sys.argv[1:] = ["worker", "--loglevel", "warn", "--without-web"]
    app.main()
