"""`airtally edge`: from start checks to a drained stop."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack, suppress

import structlog
from redis.exceptions import RedisError

from pipeline import metrics
from pipeline.edge.connection import HttpConnection
from pipeline.edge.door import Door
from pipeline.edge.ingest import Ingest
from pipeline.edge.polls import Polls, Watch
from pipeline.edge.publisher import VotePublisher
from pipeline.edge.results import Results
from pipeline.edge.site import Site
from pipeline.edge.tokens import Tokens
from pipeline.errors import UnavailableError
from pipeline.health import Health
from pipeline.ledger.connection import connect
from pipeline.log.offsets import LogOffsets
from pipeline.service import measured, serving
from pipeline.settings import Settings
from pipeline.waiting import end, until_available
from pipeline.web.accepting import Acceptor
from pipeline.web.listening import listen, need_connections

DEFAULT_HEALTH_PORT = 9104
FIRST_LOOK_S = 5.0  # for Redis at the start; an edge without it takes votes all the same

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Take votes until told to stop; then finish those that are in flight.

    Raises:
        ConfigurationError: a secret is missing, a port is taken, too few files may be open, or the topic is not as it must be.
    """
    publisher = VotePublisher(settings, close_s=settings.edge_drain_s)
    tokens, polls = Tokens.from_settings(settings), Polls()
    room = need_connections(settings.edge_connections)
    listening = listen(settings.edge_host, settings.edge_port, "AIRTALLY_EDGE_PORT", shared=settings.edge_share_port)
    client = connect(settings)
    try:
        async with serving(settings, "edge", DEFAULT_HEALTH_PORT) as health, AsyncExitStack() as stack:
            await until_available(lambda: stack.enter_async_context(publisher), health, "kafka")
            offsets = await until_available(lambda: stack.enter_async_context(LogOffsets(settings)), health, "kafka")
            ingest = Ingest(publisher, polls, settings)
            results = Results(client)
            site = Site(Door(ingest, tokens, settings), results, settings, room)
            await _until_told(settings, site, Watch(client, offsets, settings, polls, tokens), health, listening)
    finally:
        listening.close()
        await client.aclose()


async def _until_told(settings: Settings, site: Site, watch: Watch, health: Health, listening: socket.socket) -> None:
    """Serve, and drain when a signal comes."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    with suppress(UnavailableError, TimeoutError, RedisError):  # `watch.run` tells the last, and looks again
        async with asyncio.timeout(FIRST_LOOK_S):
            await watch.begin()
    tasks = [asyncio.create_task(each) for each in (watch.run(), site.results.run(), site.sweep())]
    acceptor = Acceptor(listening, lambda: HttpConnection(site), site.room)
    log.info("serving", address="http://{}:{}/".format(*listening.getsockname()[:2]), connections=site.most_connections)
    health.set("start", None)
    try:
        async with measured(lambda: _measure(site)):
            await asyncio.wait([asyncio.create_task(told.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
            health.set("draining", "told to stop: takes no new connections")
            log.info("draining", connections=len(site), in_flight=site.door.ingest.in_flight)
            await asyncio.sleep(settings.edge_lame_duck_s)
            acceptor.close()
            listening.close()  # whoever connects now is refused, and tries another edge
            await site.drain(settings.edge_drain_s)
    finally:
        acceptor.close()
        _measure(site)
        await end(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _measure(site: Site) -> None:
    metrics.EDGE_STALLED.set(site.door.ingest.stalled_s())
    counts = site.door.ingest.counts
    for answer, votes in list(counts.items()):
        metrics.EDGE_VOTES.labels(answer).inc(votes)
    counts.clear()
    metrics.EDGE_IN_FLIGHT.set(site.door.ingest.in_flight)
    metrics.EDGE_CONNECTIONS.labels("socket").set(site.sockets)
    metrics.EDGE_CONNECTIONS.labels("http").set(len(site) - site.sockets)
    metrics.EDGE_CONNECTIONS_MADE_ROOM.inc(site.made_room)
    site.made_room = 0
