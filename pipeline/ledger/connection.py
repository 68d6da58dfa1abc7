"""How to reach Redis, and whether this Redis can hold a ledger."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.errors import RedisMismatchError, SettingError, UnavailableError
from pipeline.settings import Settings

MIN_VERSION = (6, 2)
TIMEOUT_S = 5.0  # of one call; a script takes milliseconds

# Answers of a server that will be well again by itself. OOM and READONLY need a person or a failover, and then pass too.
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.MasterDownError,
    OSError,
)
_PASSING_TEXTS = ("MISCONF", "LOADING", "OOM", "READONLY", "NOREPLICAS", "UNKILLABLE", "BUSY")


def connect(settings: Settings) -> Redis:
    """Make a client. It does not connect yet, and never retries by itself: the caller knows what a retry means.

    Raises:
        SettingError: no address is set.
    """
    if not settings.redis_url:
        raise SettingError("AIRTALLY_REDIS_URL is not set: give redis://host:port/0, or start one by `airtally up`")
    return Redis.from_url(
        settings.redis_url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


@contextmanager
def unavailable_if_down() -> Iterator[None]:
    """Turn what the client raises while Redis is away, full or failing over into ``UnavailableError``."""
    try:
        yield
    except _PASSING as error:
        raise UnavailableError(f"Redis does not answer as it should: {error}") from error
    except exceptions.ResponseError as error:
        if str(error).startswith(_PASSING_TEXTS):
            raise UnavailableError(f"Redis refuses for now: {error}") from error
        if "AIRTALLY" in str(error):
            raise RedisMismatchError(
                f"{error}; `airtally doctor` tells more, another database or server may be meant"
            ) from error
        raise


async def check(client: Redis) -> str:
    """Make sure that this Redis can hold a ledger; give its version.

    Raises:
        RedisMismatchError: too old, or it may evict keys.
        UnavailableError: it does not answer.
    """
    with unavailable_if_down():
        info = await client.info("server")
        version = str(info["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
            raise RedisMismatchError(f"Redis {version} is too old: 6.2 or later is needed")
        policy = await _eviction_policy(client)
    if policy not in (None, "noeviction"):
        raise RedisMismatchError(
            f"Redis has maxmemory-policy {policy}: it may throw votes away. "
            "Set it to noeviction: redis-cli CONFIG SET maxmemory-policy noeviction (and in redis.conf)"
        )
    return version


async def _eviction_policy(client: Redis) -> str | None:
    """Ask for the policy; None where CONFIG is forbidden, as at some providers (INFO tells it there)."""
    try:
        found = await client.config_get("maxmemory-policy")
        return str(found["maxmemory-policy"])
    except (exceptions.ResponseError, KeyError):
        memory = await client.info("memory")
        policy = memory.get("maxmemory_policy")
        return None if policy is None else str(policy)
