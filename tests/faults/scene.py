"""A trial's scene: what a fault may lay hands on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from pipeline.archive import connection as clickhouse
from pipeline.errors import UnavailableError
from pipeline.ledger.connection import connect
from pipeline.local.parts import Part
from pipeline.settings import Settings
from tests.faults.audience import EdgeBroadcast
from tests.faults.broadcast import Broadcast
from tests.faults.proxy import Proxy
from tests.faults.publisher import ChildBroadcast
from tests.faults.servers import Server, Servers
from tests.faults.verdict import WrongError
from tests.faults.workers import Worker, stand_in, start_worker


@dataclass
class Scene:
    """One show with its servers and workers.

    Attributes:
        found: the settings of the trial, straight to the servers.
        through: the settings of its workers: to some servers through a proxy.
        controls: the command of a service, where a negative control replaces it.
        chance: what a fault may throw dice with.
        notes: what a fault keeps between its injection and its healing.
    """

    servers: Servers
    found: Settings
    through: Settings
    folder: Path
    broadcast: Broadcast | ChildBroadcast | EdgeBroadcast
    controls: dict[str, tuple[str, ...]]
    chance: random.Random
    place: float
    workers: list[Worker] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def server(self, part: Part) -> Server:
        """Give a server."""
        return self.servers.servers[part]

    def proxy(self, part: Part) -> Proxy:
        """Give the proxy before a server."""
        return self.servers.proxies[part]

    def of(self, service: str) -> list[Worker]:
        """Give the living workers of a service, the first started first."""
        return [worker for worker in self.workers if worker.service == service and worker.alive]

    async def start(self, service: str, *, name: str | None = None) -> Worker:
        """Start one more worker.

        Raises:
            WrongError: it does not become ready, although all servers answer.
            UnavailableError: it does not, and they do not.
        """
        argv = self.controls.get(service)
        if argv is None and service not in {"tally", "archive", "edge"}:
            argv = stand_in(service)
        more = self.broadcast.edge_environment if isinstance(self.broadcast, EdgeBroadcast) else {}
        try:
            worker = await start_worker(self.through, self.folder / "workers", service, argv, name=name, more=more)
        except UnavailableError as error:
            if all([await server.answers() for server in self.servers.servers.values()]):
                raise WrongError(f"a {service} worker does not become ready: {error}") from error
            raise
        self.workers.append(worker)
        return worker

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """Talk to Redis, past any proxy."""
        client = connect(self.found)
        try:
            yield client
        finally:
            await client.aclose()

    async def clickhouse(self, *statements: str) -> list[Any]:
        """Run statements in ClickHouse, past any proxy; give the rows of the last."""

        def run() -> list[Any]:
            client = clickhouse.connect(self.found)
            try:
                rows: list[Any] = []
                for statement in statements:
                    rows = list(client.query(statement).result_rows)
                return rows
            finally:
                client.close()

        return await asyncio.to_thread(run)
