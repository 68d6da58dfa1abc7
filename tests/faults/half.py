"""Sends a marker to half of the partitions, and waits to be killed: `python -m tests.faults.half MARKER`."""

import asyncio
import sys

import orjson
from aiokafka import AIOKafkaProducer

from pipeline.log.connection import client_options
from pipeline.settings import load


async def _send(marker: bytes) -> None:
    found, fields = load(), orjson.loads(marker)
    key = f"{fields['show_id']}/{fields['poll_id']}".encode()
    async with AIOKafkaProducer(**client_options(found), acks="all", enable_idempotence=True) as producer:
        for partition in range(found.partitions // 2):
            await producer.send_and_wait(found.topic, marker, key=key, partition=partition)
        print("half", flush=True)  # noqa: T201  # to whoever kills it
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(_send(sys.argv[1].encode()))
