"""aiokafka's connection to a broker, mended for uvloop. Importing this module puts it in place, for every client.

Between the end of a connection and the moment when aiokafka notices, a request may still be written to it. asyncio passes
that over; uvloop raises ``RuntimeError``, which aiokafka does not expect: its fetcher or its sender ends for good, and
with it the worker (aio-libs/aiokafka#1038, open at the version that we pin).
"""

from typing import Any

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError


class BrokerConnection(conn.AIOKafkaConnection):  # type: ignore[misc]  # aiokafka is not typed
    """A connection on which a write comes too late in one way only."""

    def send(self, request: Any, expect_response: bool = True) -> Any:  # aiokafka's signature
        """Send a request; give what to await for its answer.

        Raises:
            KafkaConnectionError: there is no connection, or not any more.
        """
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            if self._writer is None or not self._writer.transport.is_closing():
                raise
            self.close(reason=conn.CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


conn.AIOKafkaConnection = BrokerConnection
