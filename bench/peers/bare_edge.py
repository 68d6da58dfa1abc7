"""The least that an edge can do, as one would write it first: what `bench/edge.py` has as its floor.

A POST is read as JSON by orjson and sent by aiokafka (idempotent, acknowledged by all replicas, 5 ms linger), behind uvicorn
with httptools and uvloop. Nothing is validated, no pseudonym made, no rate held, no poll known.
"""

import asyncio
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaProducer

from bench.peers.asgi import by_uvicorn, read_body, reply, serve
from pipeline.settings import load


class Application:
    """Answers POSTs of votes, singly or in arrays, when Kafka has them."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        read = orjson.loads(await read_body(receive))
        votes = read if isinstance(read, list) else [read]
        sent = [
            await self._producer.send(self._topic, orjson.dumps(vote), key=vote["voter"].encode()) for vote in votes
        ]
        await asyncio.gather(*sent)
        await reply(send, 202, b'{"accepted":%d}' % len(votes))


async def main() -> None:
    """Serve until killed."""
    settings = load()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    await serve(by_uvicorn(Application(producer, settings.topic), settings.edge_port), settings.edge_port)


if __name__ == "__main__":
    uvloop.run(main())
