"""What all services have in common: a health page while they run, a topic that is checked first, gauges that are set."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from pipeline import health
from pipeline.garbage import collect_rarely
from pipeline.log.topics import check_topic
from pipeline.settings import Settings
from pipeline.waiting import repeating, until_available

MEASURE_EVERY_S = 1.0

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def serving(settings: Settings, name: str, default_port: int) -> AsyncIterator[health.Health]:
    """Serve the health page, and wait until the topic can be looked at and is as it must be.

    Raises:
        ConfigurationError: the port is taken, or the topic is not as it must be.
    """
    state = health.Health(name)
    port = default_port if settings.health_port is None else settings.health_port
    pages = await health.serve(state, settings.health_host, port)
    try:
        log.info("starting", health=str(pages.addresses[0]), kafka=settings.kafka, topic=settings.topic)
        await until_available(lambda: check_topic(settings), state, "kafka")
        collect_rarely()
        yield state
    finally:
        await pages.cleanup()
    log.info("stopped")


def measured(measure: Callable[[], Awaitable[None] | None]) -> contextlib.AbstractAsyncContextManager[None]:
    """Set the gauges every second."""
    return repeating(measure, MEASURE_EVERY_S)
