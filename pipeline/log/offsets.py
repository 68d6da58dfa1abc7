"""How far the log reaches: begin and end offsets, over a connection of their own.

On the consumer's own connection such a question would wait behind its fetch, which the broker holds until records come.
"""

from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.log.connection import client_options, start_client, unavailable_if_down
from pipeline.settings import Settings


class LogOffsets:
    """Asks Kafka for offsets. An asynchronous context manager; each call raises ``UnavailableError`` while Kafka is away."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic
        self._all = range(settings.partitions)
        self._client = AIOKafkaConsumer(**client_options(settings), group_id=None, request_timeout_ms=10_000)

    async def __aenter__(self) -> Self:
        await start_client(self._client)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._client.stop()

    async def begin(self, *partitions: int) -> dict[int, int]:
        """Give the first offset that the log still has, of some partitions or all."""
        with unavailable_if_down():
            found = await self._client.beginning_offsets(self._tps(partitions))
        return {tp.partition: int(offset) for tp, offset in found.items()}

    async def end(self, *partitions: int) -> dict[int, int]:
        """Give the offset after the last record, of some partitions or all."""
        with unavailable_if_down():
            found = await self._client.end_offsets(self._tps(partitions))
        return {tp.partition: int(offset) for tp, offset in found.items()}

    def _tps(self, partitions: tuple[int, ...]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions or self._all]
