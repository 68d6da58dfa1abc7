"""Real servers that a trial may kill: one set of them, which trials use one after the other."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import UnavailableError
from pipeline.local import clickhouse, kafka, process, redis
from pipeline.local.parts import Part
from pipeline.local.ports import LOOPBACK, free_port
from pipeline.local.process import Child, Launch
from tests.faults.proxy import Proxy


class Server:
    """A server process that can be killed and started again, with the same port and the same data."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._child is not None
        return self._child.identity.pid

    async def start(self) -> None:
        """Start it, if it does not run, and wait until it answers.

        Raises:
            UnavailableError: it does not come up.
        """
        if self._child is None or not self._child.alive:
            self._child = await asyncio.to_thread(process.start, self.launch)
        await asyncio.to_thread(process.wait_ready, self._child)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            await asyncio.to_thread(self._child.kill)

    async def answers(self) -> bool:
        """Tell whether it serves."""
        try:
            await asyncio.to_thread(self.launch.probe)
        except UnavailableError:
            return False
        return True


@dataclass
class Servers:
    """Kafka, Redis and ClickHouse of one lane of the campaign, each also to be reached through a proxy."""

    folder: Path
    ports: dict[Part, int] = field(default_factory=lambda: {part: free_port() for part in Part})
    servers: dict[Part, Server] = field(default_factory=dict)
    proxies: dict[Part, Proxy] = field(default_factory=dict)

    @property
    def redis_folder(self) -> Path:
        """Where Redis keeps what it keeps."""
        return self.folder / "redis"

    def address(self, part: Part, *, proxied: bool) -> str:
        """Give a server's address as a setting wants it."""
        port = self.proxies[part].port if proxied else self.ports[part]
        return {Part.KAFKA: f"{LOOPBACK}:{port}", Part.REDIS: redis.url(port), Part.CLICKHOUSE: clickhouse.url(port)}[
            part
        ]

    async def renew_redis(self, *, appendonly: bool) -> None:
        """Give the next trial an empty Redis: alone of the three it has no name space that a fault could respect."""
        if Part.REDIS in self.servers:
            await self.servers[Part.REDIS].kill()
        shutil.rmtree(self.redis_folder, ignore_errors=True)
        launch = redis.launch(self.redis_folder, self.ports[Part.REDIS], appendonly=appendonly)
        self.servers[Part.REDIS] = Server(launch)
        await self.servers[Part.REDIS].start()

    async def renew_clickhouse(self, folder: Path) -> None:
        """Run ClickHouse on another folder."""
        if Part.CLICKHOUSE in self.servers:
            await self.servers[Part.CLICKHOUSE].kill()
        self.servers[Part.CLICKHOUSE] = Server(clickhouse.launch(folder, self.ports[Part.CLICKHOUSE]))
        await self.servers[Part.CLICKHOUSE].start()

    async def restore(self) -> None:
        """Make everything run as at the beginning, whatever the trial before has left."""
        await asyncio.gather(*(server.start() for server in self.servers.values()))
        for proxy in self.proxies.values():
            await proxy.restore()

    async def _start(self) -> None:
        kafka_port, behind_proxy = self.ports[Part.KAFKA], free_port()
        self.proxies = {part: Proxy(behind_proxy if part is Part.KAFKA else self.ports[part]) for part in Part}
        node = kafka.Node(kafka_port, free_port())
        launch = kafka.launch(self.folder / "kafka", node, heap_mb=512, properties=self._two_doors(node, behind_proxy))
        self.servers[Part.KAFKA] = Server(launch)
        await asyncio.gather(
            self.servers[Part.KAFKA].start(),
            self.renew_redis(appendonly=False),
            self.renew_clickhouse(self.folder / "clickhouse"),
        )
        await self.restore()

    def _two_doors(self, node: kafka.Node, behind_proxy: int) -> dict[str, str]:
        """Let Kafka tell whoever comes through the proxy to come through the proxy again."""
        controller = f"CONTROLLER://{LOOPBACK}:{node.controller_port}"
        return {
            "listeners": f"PLAINTEXT://{node.address},PROXIED://{LOOPBACK}:{behind_proxy},{controller}",
            "advertised.listeners": (f"PLAINTEXT://{node.address},PROXIED://{self.address(Part.KAFKA, proxied=True)}"),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }

    async def _stop(self) -> None:
        for proxy in self.proxies.values():
            await proxy.down()
        await asyncio.gather(*(server.kill() for server in self.servers.values()))


@contextlib.asynccontextmanager
async def running_servers(folder: Path) -> AsyncIterator[Servers]:
    """Run a set of servers until the block ends.

    Raises:
        UnavailableError: one does not come up.
        MissingToolError: one is not installed.
    """
    servers = Servers(folder)
    try:
        await servers._start()
        yield servers
    finally:
        await servers._stop()
