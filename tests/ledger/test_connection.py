"""A command in the moment between the end of a connection and its notice, on uvloop, as our services run."""

import asyncio
import contextlib

import pytest
import uvloop

from pipeline.errors import UnavailableError
from pipeline.ledger.connection import connect, unavailable_if_down
from pipeline.settings import Settings

pytestmark = pytest.mark.real


@pytest.mark.parametrize("turns", range(4))  # of the event loop, after which the connection ends
def test_a_command_that_comes_too_late_is_tried_again_later(found: Settings, turns: int) -> None:
    async def ask() -> bool:
        client = connect(found)
        try:
            await client.ping()
            (connection,) = client.connection_pool._available_connections
            asking = asyncio.ensure_future(client.ping())
            for _ in range(turns):
                await asyncio.sleep(0)
            if connection._writer is not None:
                connection._writer.transport.abort()  # what the loop does when Redis is gone
            with contextlib.suppress(UnavailableError), unavailable_if_down():
                await asking
            return bool(await client.ping())
        finally:
            await client.aclose()

    assert uvloop.run(ask())
