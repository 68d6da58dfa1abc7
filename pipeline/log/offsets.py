"""How far the log reaches: begin and end offsets, over a connection of their own.

On the consumer's own connection such a question would wait behind its fetch, which the broker holds until records come.

aiokafka gives a single request as long as the whole question, asked by the consumer's own methods. So it would never close
the connection to a host that has vanished without a word, and ask nobody who leads its partitions now.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.log.connection import client_options, start_client, unavailable_if_down
from pipeline.settings import Settings

ANSWER_MS = 10_000
REQUEST_MS = 3_000
METADATA_MS = 5_000  # as old as what is known of leaders gets

_Question = Callable[[Sequence[TopicPartition], int], Awaitable[Mapping[TopicPartition, int]]]


class LogOffsets:
    """Asks Kafka for offsets. An asynchronous context manager; each call raises ``UnavailableError`` while Kafka is away."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic
        self._all = range(settings.partitions)
        self._client = AIOKafkaConsumer(
            **client_options(settings),
            group_id=None,
            request_timeout_ms=REQUEST_MS,
            metadata_max_age_ms=METADATA_MS,
        )

    async def __aenter__(self) -> Self:
        await start_client(self._client)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._client.stop()

    async def begin(self, *partitions: int) -> dict[int, int]:
        """Give the first offset that the log still has, of some partitions or all."""
        return await self._ask(self._client._fetcher.beginning_offsets, partitions)  # noqa: SLF001  # see above

    async def end(self, *partitions: int) -> dict[int, int]:
        """Give the offset after the last record, of some partitions or all."""
        return await self._ask(self._client._fetcher.end_offsets, partitions)  # noqa: SLF001  # see above

    async def find_leaders(self) -> None:
        """Ask who leads which partition, although we believe to know."""
        with unavailable_if_down():
            await self._client._client.force_metadata_update()  # noqa: SLF001  # aiokafka is pinned

    async def _ask(self, question: _Question, partitions: tuple[int, ...]) -> dict[int, int]:
        tps = [TopicPartition(self._topic, partition) for partition in partitions or self._all]
        with unavailable_if_down():
            found = await question(tps, ANSWER_MS)
        return {tp.partition: int(offset) for tp, offset in found.items()}
