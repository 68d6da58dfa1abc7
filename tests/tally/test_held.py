"""What an idle worker holds: nothing, or the door to its backlog could stay closed."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from pipeline.domain.batch import RecordBatch
from pipeline.health import Health
from pipeline.ledger.connection import connect
from pipeline.ledger.ledger import Ledger
from pipeline.log.app import make_app
from pipeline.log.transport import Backlog
from pipeline.settings import Settings
from pipeline.tally.folder import PartitionFolder
from pipeline.waiting import end

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

LIMIT = 64 << 20


class Fetched:
    """Some records that nobody votes with, as large as is said."""

    def __init__(self, partition: int, first_offset: int, nbytes: int) -> None:
        self.partition, self.first_offset, self.next_offset, self.nbytes = (
            partition, first_offset, first_offset + 3, nbytes,
        )  # fmt: skip

    def read(self, **_how: bool) -> RecordBatch:
        return RecordBatch.of("votes", self.partition, self.first_offset, [1] * 3, [b"k"] * 3, [b"x"] * 3, [()] * 3)


class Log:
    """A log of which nothing else is asked."""

    async def begin_offset(self, _partition: int) -> int:
        return 0

    async def end_offset(self, _partition: int, _done: int = 0) -> int:
        return 1 << 40

    def position(self, _partition: int) -> int | None:
        return None

    async def seek(self, partition: int, offset: int) -> None:
        raise NotImplementedError((partition, offset))


@pytest.mark.parametrize("sizes", [[LIMIT // 4], [LIMIT // 32] * 8], ids=["one", "many in a chunk"])
async def test_the_door_opens_again_when_all_is_folded(found: Settings, sizes: Sequence[int]) -> None:
    client, backlog, partitions = connect(found), Backlog(LIMIT), range(4)
    ledger = Ledger(client, found.topic)
    folders = [PartitionFolder(each, ledger, Log(), Health("test"), accept_truncated=False) for each in partitions]
    for folder in folders:
        for index, nbytes in enumerate(sizes):
            fetched = Fetched(folder.partition, 3 * index, nbytes)
            backlog.hold(fetched)  # type: ignore[arg-type]
            folder.add(SimpleNamespace(value=fetched, ack=lambda: None))
    del fetched
    assert not await backlog.has_room(0.01)
    folding = [asyncio.create_task(folder.run()) for folder in folders]
    async with asyncio.timeout(20):
        while [folder.next_offset for folder in folders] != [3 * len(sizes)] * len(partitions):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await backlog.has_room(2)
    await end(folding)
    await client.aclose()


def test_a_worker_that_cannot_fetch_for_long_stays_in_its_group() -> None:
    app = make_app(Settings(kafka="127.0.0.1:1"), "tally")
    assert app.conf.broker_max_poll_interval > 7 * 24 * 60 * 60  # s; Redis may be away for a night
