"""The two loops of the live view: one looks at the ledgers, one asks Kafka how far the log reaches."""

import asyncio
import time

import structlog

from pipeline import metrics
from pipeline.clock import now_ms
from pipeline.errors import UnavailableError
from pipeline.health import Health
from pipeline.live.completeness import LogEnd
from pipeline.live.hub import Hub
from pipeline.live.merger import Merger
from pipeline.log.offsets import LogOffsets
from pipeline.settings import Settings
from pipeline.waiting import until_available

MERGE_EVERY_S = 0.1  # faster than this nobody reads
LOOK_EVERY_S = 0.04  # while nothing changes
LOG_END_EVERY_S = 0.5
AGAIN_S = 2.0  # after Kafka did not answer

log = structlog.get_logger(__name__)


async def watch_ledgers(merger: Merger, hub: Hub, health: Health) -> None:
    """Look at the ledgers for ever, and publish what is new; while Redis is away, hold what is shown."""
    await until_available(merger.begin, health, "redis")
    for poll in merger.polls.values():
        if poll.shown is not None:
            hub.publish(poll.shown)
    while True:
        began = time.monotonic()
        changed = await until_available(lambda: merger.look(now_ms()), health, "redis")
        for shown in changed:
            hub.publish(shown)
        took = time.monotonic() - began
        if changed:
            metrics.LIVE_LOOK_SECONDS.observe(took)
        hub.looked_at = time.monotonic()
        health.set("start", None)
        await asyncio.sleep(max(0.0, (MERGE_EVERY_S if changed else LOOK_EVERY_S) - took))


async def watch_log(settings: Settings, merger: Merger) -> None:
    """Ask for ever how far the log reaches. While Kafka is away nobody knows, and the numbers are none the worse."""
    while True:
        try:
            async with LogOffsets(settings) as offsets:
                while True:
                    asked_at = now_ms()
                    ends = await offsets.end()
                    merger.log_end = LogEnd(asked_at, [ends[partition] for partition in range(settings.partitions)])
                    await asyncio.sleep(LOG_END_EVERY_S)
        except UnavailableError as error:
            merger.log_end = None
            log.warning("the log's end is unknown", error=str(error))
            await asyncio.sleep(AGAIN_S)
