"""Three small brokers, of which a vote that was acknowledged is on two at least."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from pipeline.local import kafka
from pipeline.local.ports import free_port
from tests.faults.servers import Server

_COPIES = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "replica.lag.time.max.ms": "3000",
}


@dataclass
class Cluster:
    """The brokers, by their numbers."""

    nodes: dict[int, kafka.Node]
    brokers: dict[int, Server]

    @property
    def address(self) -> str:
        """The bootstrap servers."""
        return ",".join(node.address for node in self.nodes.values())

    async def leader(self, topic: str, partition: int) -> int:
        """Give the number of the broker that leads a partition."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=10_000)
        await admin.start()
        try:
            (found,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
        return next(int(each["leader"]) for each in found["partitions"] if each["partition"] == partition)


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cluster]:
    """Run three brokers until the block ends.

    Raises:
        UnavailableError: one does not come up.
    """
    nodes = {number: kafka.Node(free_port(), free_port(), number) for number in (1, 2, 3)}
    name = kafka.new_cluster_id()
    launches = await asyncio.gather(
        *(
            asyncio.to_thread(
                kafka.launch,
                folder / str(number),
                node,
                voters=list(nodes.values()),
                cluster_id=name,
                properties=_COPIES,
                heap_mb=256,
            )
            for number, node in nodes.items()
        )
    )
    brokers = {number: Server(launch) for number, launch in zip(nodes, launches, strict=True)}
    try:
        await asyncio.gather(*(broker.start() for broker in brokers.values()))
        yield Cluster(nodes, brokers)
    finally:
        await asyncio.gather(*(broker.kill() for broker in brokers.values()))
