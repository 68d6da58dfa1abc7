"""`airtally live`: from start checks to a clean stop."""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import structlog

from pipeline.clock import now_ms
from pipeline.health import Health
from pipeline.ledger.connection import check, connect
from pipeline.live.display import Display
from pipeline.live.edges import EdgeReader
from pipeline.live.http import application
from pipeline.live.hub import Hub
from pipeline.live.merger import Merger
from pipeline.live.reading import LiveReader
from pipeline.live.server import SEND_BUFFER_BYTES, Server
from pipeline.live.view import View
from pipeline.live.watch import watch_ledgers, watch_log
from pipeline.service import serving
from pipeline.settings import Settings
from pipeline.waiting import end, until_available
from pipeline.web.listening import listen, need_connections
from pipeline.web.origins import origins_of

DEFAULT_HEALTH_PORT = 9103

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Run the live view until it is told to stop.

    Raises:
        ConfigurationError: a port is taken, too few files may be open, or topic or Redis are not as they must be.
    """
    room = need_connections(settings.live_readers)
    client = connect(settings)
    listening = listen(
        settings.live_host, settings.live_port, "AIRTALLY_LIVE_PORT", send_buffer_bytes=SEND_BUFFER_BYTES
    )
    if room < settings.live_readers:
        log.warning(
            "the system's limit of open files leaves room for fewer readers", room=room, wanted=settings.live_readers
        )
    try:
        async with serving(settings, "live", DEFAULT_HEALTH_PORT) as health:
            await until_available(lambda: check(client), health, "redis")
            ledgers = LiveReader(client, settings.topic, settings.partitions)
            merger = Merger(ledgers, Display(client, settings.topic, settings.partitions), health, settings.topic)
            await _serve(settings, merger, health, listening)
    finally:
        listening.close()
        await client.aclose()


async def _serve(settings: Settings, merger: Merger, health: Health, listening: socket.socket) -> None:
    hub = Hub()
    view = View(merger, lambda: not {"redis", "start"} & set(health.problems))
    edges, origins = EdgeReader(merger, now_ms), origins_of(settings.live_origins)
    server = Server(application(view, hub, edges, settings.live_readers, origins), hub)
    log.info("serving", address="http://{}:{}/".format(*listening.getsockname()[:2]))
    await _until_first_ends(
        server.serve(sockets=[listening]),
        watch_ledgers(merger, hub, health),
        watch_log(settings, merger),
        hub.run(),
    )


async def _until_first_ends(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run until one ends, which is the server when it is told to stop, or whichever fails."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)
