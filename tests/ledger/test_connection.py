"""A Redis that is full, fails over or goes away is waited for; one that is not what it must be is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from redis import exceptions
from redis.asyncio import Redis

from pipeline.errors import RedisMismatchError, UnavailableError
from pipeline.ledger.connection import connect, unavailable_if_down
from pipeline.local import redis as local_redis
from pipeline.local.parts import Part
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from tests.faults.proxy import Proxy

from .books import PARTITION, RedisBook

BEFORE_7 = "Error running script (call to f_6f2d): @user_script:39: @user_script: 39: -{} what is told of it"


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        *(exceptions.ResponseError(BEFORE_7.format(code)) for code in ("OOM", "READONLY", "MISCONF", "NOREPLICAS")),
        exceptions.ResponseError(
            "Command # 1 (HMGET k) of pipeline caused error: ('BUSY Redis is busy running a script',)"
        ),
        exceptions.MovedError("7 127.0.0.1:7001"),
        exceptions.ClusterError("TTL exhausted."),
    ],
    ids=str,
)
def test_what_passes_is_waited_for(error: Exception) -> None:
    with pytest.raises(UnavailableError), unavailable_if_down():
        raise error


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (exceptions.ResponseError(BEFORE_7.format("AIRTALLY")), RedisMismatchError),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), exceptions.ResponseError),
        (exceptions.ResponseError("unknown command BUSYBODY"), exceptions.ResponseError),
    ],
)
def test_what_does_not_pass_is_not(error: Exception, raised: type[Exception]) -> None:
    with pytest.raises(raised), unavailable_if_down():
        raise error


@pytest.mark.real
async def test_a_full_redis_of_any_version_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert int(local_redis.version(local_redis.server_binary()).split(".")[0]) < 7  # the bundled one
    with LocalStack(tmp_path, [Part.REDIS]) as stack:
        client = connect(Settings(redis_url=stack.addresses.redis_url))
        book = RedisBook(client, "votes")
        await client.config_set("maxmemory", 1)
        with pytest.raises(UnavailableError, match="OOM"):
            await book.ledger.create(PARTITION, 0)
        await client.config_set("maxmemory", 0)
        await book.ledger.create(PARTITION, 0)
        await client.aclose()


@contextlib.asynccontextmanager
async def redis_at(address: str) -> AsyncIterator[Redis]:
    client = connect(Settings(redis_url=address))
    yield client
    await client.aclose()


@pytest.mark.real
@pytest.mark.parametrize("bundled", [False, True])
async def test_after_a_failover_behind_a_name_the_new_primary_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bundled: bool
) -> None:
    """The old one lives on as a replica, and keeps its connections."""
    if bundled:
        monkeypatch.setenv("PATH", "")
        assert int(local_redis.version(local_redis.server_binary()).split(".")[0]) < 7
    with LocalStack(tmp_path / "a", [Part.REDIS]) as old, LocalStack(tmp_path / "b", [Part.REDIS]) as new:
        ports = [int(stack.addresses.redis_url.rsplit(":", 1)[1].split("/")[0]) for stack in (old, new)]
        name = Proxy(ports[0])
        await name.up()
        async with redis_at(f"redis://127.0.0.1:{name.port}/0") as client, redis_at(old.addresses.redis_url) as first:
            book = RedisBook(client, "votes")
            await book.ledger.create(PARTITION, 1)
            name._target_port = ports[1]
            await first.replicaof("127.0.0.1", free_port())
            with pytest.raises(UnavailableError):
                await book.ledger.create(PARTITION + 1, 2)
            await book.ledger.create(PARTITION + 1, 3)
        async with redis_at(new.addresses.redis_url) as second:
            assert await RedisBook(second, "votes").ledger.next_offset(PARTITION + 1) == 3
        await name.down()


# In the moment between the end of a connection and its notice; on uvloop, as our services run.
@pytest.mark.real
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
