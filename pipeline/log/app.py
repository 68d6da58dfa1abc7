"""What our Faust apps have in common: their settings, the log as they see it, and how one runs as a process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import faust
from faust.types import TP

from pipeline.domain.native import compile_all
from pipeline.errors import TopicMismatchError
from pipeline.log.connection import faust_options
from pipeline.log.offsets import LogOffsets
from pipeline.log.transport import BatchApp
from pipeline.settings import Settings

# After this a worker that was killed loses its partitions to the others. It is the least that a broker allows by default;
# heartbeats come from the consumer's own thread, so that a worker that is busy folding does not miss twelve of them.
SESSION_TIMEOUT_S = 6.0
# Faust's 90 s is how long a survivor would wait for an answer of a host that is gone, and with it for its partitions' leaders.
# Joining is a request, too: the group has to be complete before that.
REQUEST_TIMEOUT_S, REBALANCE_TIMEOUT_S = 20.0, 15.0
HEARTBEAT_S = 0.5  # by its answer a worker learns that others come or go: a hand-over waits as long
METADATA_AGE_S = 5.0  # after this a topic that was gone is looked for again: in between nobody has any partition of it
ASK_AGAIN_S = 1.0
FETCH_BYTES = 1 << 20  # of one partition in one response
# aiokafka makes a member that has not fetched for this long leave its group, and Faust would not let it fetch, hence join,
# again. A worker that waits for Redis or ClickHouse, its backlog full, waits for ever. No broker is told of this.
FETCHED_WITHIN_S = 30 * 24 * 60 * 60.0


def make_app(settings: Settings, service: str) -> BatchApp:
    """Make the app of a service: its consumer group is `airtally-<topic>-<service>`."""
    app = BatchApp(
        f"airtally-{settings.topic}-{service}",
        **faust_options(settings),
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id and f"{service}-{settings.instance_id}",
        consumer_max_fetch_size=FETCH_BYTES,
        broker_request_timeout=REQUEST_TIMEOUT_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_max_poll_interval=FETCHED_WITHIN_S,
        broker_commit_interval=1.0,
        consumer_metadata_max_age_ms=int(METADATA_AGE_S * 1000),
        stream_buffer_maxsize=1 << 20,  # in batches, so never full: the transport bounds bytes instead
        stream_wait_empty=False,  # a rebalance need not wait for what is half done: the ledger fences it
    )
    app.backlog_bytes = settings.backlog_bytes
    return app


class AppLog:
    """The log as a running app reaches it."""

    def __init__(self, app: BatchApp, topic: str, offsets: LogOffsets) -> None:
        self._app, self._topic, self._offsets = app, topic, offsets

    async def seek(self, partition: int, offset: int) -> None:
        """Read on from an offset."""
        await self._app.consumer.seek_wait({TP(self._topic, partition): offset})

    async def begin_offset(self, partition: int) -> int:
        """Give the first offset that the log still has."""
        return (await self._offsets.begin(partition))[partition]

    async def end_offset(self, partition: int, done: int = 0) -> int:
        """Give the offset after the last record.

        One before what is done of the log is not believed at once: a broker that hung and woke, and has not heard yet that it
        leads the partition no longer, may say so.
        """
        end = (await self._offsets.end(partition))[partition]
        if end < done:
            await asyncio.sleep(ASK_AGAIN_S)
            await self._offsets.find_leaders()
            end = (await self._offsets.end(partition))[partition]
        return end

    async def end_offsets(self) -> Mapping[int, int]:
        """Give the offsets after the last records of all partitions."""
        return await self._offsets.end()

    def position(self, partition: int) -> int | None:
        """Give the offset to read next; None: between two assignments, or before the first position is known."""
        with contextlib.suppress(Exception):  # between two assignments the driver knows no partition
            found = self._app.consumer.position_now(TP(self._topic, partition))
            return None if found is None else int(found)
        return None


PartitionsHook = Callable[[Collection[TP]], Awaitable[None]]


def on_partitions(app: BatchApp, settings: Settings, assigned: PartitionsHook, revoked: PartitionsHook) -> None:
    """Call these at each assignment, with all partitions that are held now, and at each revocation.

    A partition that the settings do not know ends the app with a ``TopicMismatchError``: no reader would look at it.
    """

    async def assigned_or_crash(partitions: Collection[TP]) -> None:
        if unknown := sorted(tp.partition for tp in partitions if tp.partition >= settings.partitions):
            await app.crash(
                TopicMismatchError(
                    f"topic {settings.topic} has partitions {unknown}, AIRTALLY_PARTITIONS is {settings.partitions}: no result "
                    "would have their votes, and since they were added a voter's votes are in two. Begin another topic, which "
                    "has as many partitions as it needs from the first record on"
                )
            )
        else:
            await assigned(partitions)

    for signal, hook in ((app.on_partitions_assigned, assigned_or_crash), (app.on_partitions_revoked, revoked)):

        async def handle(
            _app: BatchApp, partitions: Collection[TP], *, hook: PartitionsHook = hook, **_kwargs: Any
        ) -> None:
            await hook(partitions)

        signal.connect(handle, weak=False)


async def run_app(app: BatchApp) -> None:
    """Run an app until it is told to stop (SIGTERM, SIGINT) or fails.

    Raises:
        BaseException: what stopped it, as it was raised.
    """
    await asyncio.to_thread(compile_all)  # before a broker waits for this member of the group
    loop = asyncio.get_running_loop()
    worker = faust.Worker(
        app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True, blocking_timeout=0
    )
    worker.spinner = None  # it writes escape sequences even when told to be quiet
    try:
        await worker.start()
    finally:
        await (worker._signal_stop_future or worker.stop())  # noqa: SLF001  # a stop by signal is under way already
        if app.ending is not None:
            app.ending.cancel()
    reason = app.crash_reason or worker.crash_reason
    if reason is not None:
        raise reason
