"""`airtally tally`: one worker, from start checks to a clean stop."""

from pipeline.descriptors import allow_descriptors
from pipeline.domain.rows import overflow_to
from pipeline.ledger.connection import check, connect
from pipeline.ledger.ledger import Ledger
from pipeline.log.app import run_app
from pipeline.log.offsets import LogOffsets
from pipeline.service import measured, serving
from pipeline.settings import Settings
from pipeline.tally.app import build
from pipeline.tally.files import MOST_FILES, Files
from pipeline.waiting import until_available

DEFAULT_HEALTH_PORT = 9101


async def run(settings: Settings) -> None:
    """Run a tally worker until it is told to stop.

    Raises:
        ConfigurationError: topic or Redis are not as they must be.
        LogError: the log cannot be folded exactly.
    """
    files = Files(settings.remembered_folder, allow_descriptors(MOST_FILES))
    overflow_to(files.make, most_bytes=settings.remembered_bytes)
    client = connect(settings)
    try:
        async with serving(settings, "tally", DEFAULT_HEALTH_PORT) as health, LogOffsets(settings) as offsets:
            await until_available(lambda: check(client), health, "redis")
            app, tally = build(settings, offsets, Ledger(client, settings.topic), health)
            async with measured(tally.measure):
                await run_app(app)
            await tally.close()
    finally:
        await client.aclose()
