"""The least that an edge can do, as one would write it first: what `bench/edge.py` has as its floor.

A POST is read as JSON by orjson and sent by aiokafka (idempotent, acknowledged by all replicas, 5 ms linger), behind uvicorn
with httptools and uvloop. Nothing is validated, no pseudonym made, no rate held, no poll known.
"""

import asyncio
from typing import Any

import orjson
import uvicorn
import uvloop
from aiokafka import AIOKafkaProducer

from bench.peers.listening import until_listening
from pipeline.settings import load


class Application:
    """Answers POSTs of votes, singly or in arrays, when Kafka has them."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer, self._topic = producer, topic

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        read = orjson.loads(body)
        votes = read if isinstance(read, list) else [read]
        sent = [
            await self._producer.send(self._topic, orjson.dumps(vote), key=vote["voter"].encode()) for vote in votes
        ]
        await asyncio.gather(*sent)
        content = b'{"accepted":%d}' % len(votes)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def main() -> None:
    """Serve until killed."""
    settings = load()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    config = uvicorn.Config(
        Application(producer, settings.topic),
        port=settings.edge_port,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        backlog=4096,
    )
    serving = asyncio.ensure_future(uvicorn.Server(config).serve())
    await until_listening(settings.edge_port)
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(main())
