"""A request in the moment between the end of a connection and its notice, on uvloop, as our services run."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.local.stack import LocalStack
from pipeline.log.broker_connection import BrokerConnection

pytestmark = pytest.mark.real


@pytest.mark.parametrize("turns", range(5))  # of the event loop, after which the request comes
def test_a_request_that_comes_too_late_has_no_connection(system: LocalStack, turns: int) -> None:
    async def ask() -> None:
        host, port = system.addresses.kafka.split(":")
        connection = await create_conn(host, int(port))
        assert isinstance(connection, BrokerConnection)
        connection._writer.transport.abort()  # what the loop does when the broker is gone
        for _ in range(turns):
            await asyncio.sleep(0)
        with pytest.raises(KafkaConnectionError):
            await connection.send(MetadataRequest([]))

    uvloop.run(ask())
