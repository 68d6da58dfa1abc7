"""How to reach Redis or a Redis Cluster, and whether it can hold a ledger."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.errors import RedisMismatchError, SettingError, UnavailableError
from pipeline.settings import Settings

MIN_VERSION = (6, 2)
CLUSTER = "+cluster"  # at the end of a URL's scheme: redis+cluster://host:port, the address of any node
TIMEOUT_S = 5.0  # of one call; a script takes milliseconds

# Answers of a server that will be well again by itself. OOM and READONLY need a person or a failover, and then pass too.
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.ClusterError,  # a slot is on its way for longer than redis-py asks again
    exceptions.TryAgainError,
    exceptions.AskError,  # also MovedError: in a transaction redis-py finds the slot's new place, and leaves trying to us
    exceptions.MasterDownError,
    exceptions.RedisClusterException,  # no node answers, or a slot has none
    OSError,
)
# uvloop says so of a write in the moment before redis-py notices that the connection has ended.
_CLOSED = "the handler is closed"
# At the beginning; of what a script has called, Redis before 7 tells it within a text of its own, redis-py of a pipeline, too.
_is_passing = re.compile(r"(?:^|\s-|: \(['\"])(?:MISCONF|LOADING|OOM|READONLY|NOREPLICAS|UNKILLABLE|BUSY)\b").search


def connect(settings: Settings) -> Redis:
    """Make a client. It does not connect yet, and never retries by itself: the caller knows what a retry means.

    With `redis+cluster://` it is one of a Redis Cluster, whose other nodes it asks for. That client has the same commands; only
    transactions are of one slot (``in_one_slot``), and what is one partition's is in one slot.

    Raises:
        SettingError: no address is set.
    """
    if not settings.redis_url:
        raise SettingError("AIRTALLY_REDIS_URL is not set: give redis://host:port/0, or start one by `airtally up`")
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    scheme, _, address = settings.redis_url.partition("://")
    if scheme.endswith(CLUSTER):
        return cast("Redis", RedisCluster.from_url(f"{scheme.removesuffix(CLUSTER)}://{address}", **options))
    # After a failover behind a name a connection may still lead to the old primary, which is read-only; before Redis 7 its
    # refusal of a script has no class of its own. So a connection that refuses anything is closed, and the next asks anew.
    return Redis.from_url(settings.redis_url, **options, retry_on_error=[exceptions.ResponseError])


def ask(pipe: Any, command: str, key: str) -> None:
    """Put a command of one key into a transaction, plainly: in one of a Cluster, redis-py stumbles over its own methods."""
    pipe.execute_command(command, key)


def in_one_slot(client: Redis) -> bool:
    """Tell whether a transaction must keep to the keys of one partition."""
    return isinstance(client, RedisCluster)


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Turn what the client raises while Redis is away, full or failing over into ``UnavailableError``."""
    try:
        yield
    except _PASSING as error:
        raise UnavailableError(f"Redis does not answer as it should: {error}") from error
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        raise UnavailableError(f"Redis has closed the connection: {error}") from error
    except exceptions.ResponseError as error:
        if _is_passing(str(error)):
            raise UnavailableError(f"Redis refuses for now: {error}") from error
        if "AIRTALLY" in str(error):
            raise RedisMismatchError(
                f"{error}; `airtally doctor` tells more, another database or server may be meant"
            ) from error
        raise


async def check(client: Redis) -> str:
    """Make sure that this Redis, or each primary of this Cluster, can hold ledgers; give its version, the oldest of several.

    Raises:
        RedisMismatchError: too old, or it may evict keys, or the URL is not of its kind, or its user may not ask.
        UnavailableError: it does not answer.
    """
    try:
        with unavailable_if_down():
            servers = await _ask_primaries(client, client.info, "server")
            policies = await _eviction_policies(client)
    except exceptions.NoPermissionError as error:
        raise RedisMismatchError(f"the user in AIRTALLY_REDIS_URL may not ask for INFO: {error}") from error
    if not in_one_slot(client) and any(info.get("redis_mode") == "cluster" for info in servers):
        raise RedisMismatchError("this Redis is a node of a Cluster: begin AIRTALLY_REDIS_URL with redis+cluster://")
    version = min((str(info["redis_version"]) for info in servers), key=_parts)
    if _parts(version) < MIN_VERSION:
        raise RedisMismatchError(f"Redis {version} is too old: 6.2 or later is needed")
    for policy in policies - {"noeviction"}:
        raise RedisMismatchError(
            f"Redis has maxmemory-policy {policy}: it may throw votes away. "
            "Set it to noeviction: redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf)"
        )
    return version


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


async def _ask_primaries(client: Redis, command: Callable[..., Awaitable[Any]], what: str) -> list[Mapping[str, Any]]:
    """Give each primary's answer; of a plain Redis its own."""
    if isinstance(client, RedisCluster):
        return list((await command(what, target_nodes=RedisCluster.PRIMARIES)).values())
    return [await command(what)]


async def _eviction_policies(client: Redis) -> set[str]:
    """Ask for the policies; none where CONFIG is forbidden, as at some providers, and INFO does not tell it."""
    try:
        found = await _ask_primaries(client, client.config_get, "maxmemory-policy")
        return {str(answer["maxmemory-policy"]) for answer in found}
    except (exceptions.ResponseError, KeyError):
        found = await _ask_primaries(client, client.info, "memory")
        return {str(memory["maxmemory_policy"]) for memory in found if "maxmemory_policy" in memory}
