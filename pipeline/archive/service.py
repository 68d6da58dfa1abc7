"""`airtally archive`: one worker, from start checks to a clean stop."""

import asyncio

from pipeline.archive.app import Archive, build
from pipeline.archive.buffer import FlushPolicy
from pipeline.archive.migrate import check
from pipeline.archive.store import ArchiveStore
from pipeline.log.app import AppLog, make_app, run_app
from pipeline.log.offsets import LogOffsets
from pipeline.service import measured, serving
from pipeline.settings import Settings
from pipeline.waiting import until_available

DEFAULT_HEALTH_PORT = 9102


async def run(settings: Settings) -> None:
    """Run an archive worker until it is told to stop.

    Raises:
        ConfigurationError: topic or ClickHouse are not as they must be.
        LogError: the log cannot be stored whole.
    """
    store = ArchiveStore(settings)
    try:
        async with serving(settings, "archive", DEFAULT_HEALTH_PORT) as health, LogOffsets(settings) as offsets:
            await until_available(lambda: asyncio.to_thread(check, settings), health, "clickhouse")
            app = make_app(settings, "archive")
            source = AppLog(app, settings.topic, offsets)
            archive = Archive(app, settings, store, source, health, FlushPolicy())
            build(app, settings, archive)
            async with measured(archive.measure):
                await run_app(app)
            await archive.close()
    finally:
        await store.close()
