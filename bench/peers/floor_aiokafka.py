"""The floor in Python: aiokafka and msgspec, parse and count. No dedupe, no limits, no guarantee."""

import uuid

import uvloop
from aiokafka import AIOKafkaConsumer

from bench.peers.tallies import Air, Setup, parse

FETCH_BYTES = 4 << 20


async def main() -> None:
    """Read for ever."""
    setup = Setup.read()
    air = Air(setup.redis_url)
    consumer = AIOKafkaConsumer(
        setup.topic,
        bootstrap_servers=setup.kafka,
        group_id=f"{setup.group}-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    numbers = air.numbers
    while True:
        for records in (await consumer.getmany(timeout_ms=100, max_records=5_000)).values():
            votes = [vote for record in records if (vote := parse(record.value)) is not None]
            numbers.update([vote.cell for vote in votes])
        air.write_if_due()


if __name__ == "__main__":
    uvloop.run(main())
