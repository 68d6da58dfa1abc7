"""How to reach ClickHouse, and what its errors mean to a service: wait, or stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver import exceptions

from pipeline.errors import ConfigurationError, SchemaMismatchError, SettingError, UnavailableError
from pipeline.settings import Settings

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 120  # a recount of a large show; an insert takes about a second

# Numbers of ClickHouse's own (src/Common/ErrorCodes.cpp) that no waiting mends. With any other, the same flush may pass
# later: memory, too many parts, a full disk, a restart. To keep trying loses nothing, and shows in health and log.
_WRONG_DOOR = frozenset({192, 193, 194, 195, 497, 516})  # unknown user, wrong password, access denied, ...
_WRONG_SCHEMA = frozenset(
    {10, 16, 36, 44, 47, 50, 53, 60, 81, 115, 117, 127, 164, 446, 469}
)  # unknown table, column, ...


def connect(settings: Settings, *, database: str | None = None) -> Any:
    """Make a client of clickhouse-connect, which asks the server for its version. It may be used from many threads.

    `database` None: that of the settings, which need not exist before a query names a table.

    Raises:
        SettingError: no address is set.
        UnavailableError: the server does not answer.
        ConfigurationError: it lets nobody in with this user and password.
    """
    if not settings.clickhouse_url:
        raise SettingError("AIRTALLY_CLICKHOUSE_URL is not set: give http://host:8123, or start one by `airtally up`")
    with translated_errors():
        return clickhouse_connect.get_client(
            dsn=settings.clickhouse_url,
            database=database or settings.clickhouse_database,
            autogenerate_session_id=False,  # a session allows one query at a time
            connect_timeout=CONNECT_TIMEOUT_S,
            send_receive_timeout=ANSWER_TIMEOUT_S,
            query_retries=0,  # the caller knows what a retry means
            compress=False,
            client_name="airtally",
        )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what the client raises into ours.

    Raises:
        UnavailableError: try again later, the same.
        SchemaMismatchError: a table or a column is not what this version writes.
        ConfigurationError: user, password or rights.
    """
    try:
        yield
    except exceptions.ClickHouseError as error:
        code = getattr(error, "code", None)
        if code in _WRONG_DOOR:
            raise ConfigurationError(f"ClickHouse lets us not in, see AIRTALLY_CLICKHOUSE_URL: {error}") from error
        if code in _WRONG_SCHEMA:
            raise SchemaMismatchError(f"ClickHouse's tables are not ours, run `airtally init`: {error}") from error
        raise UnavailableError(f"ClickHouse does not answer as it should: {error}") from error
    except OSError as error:
        raise UnavailableError(f"ClickHouse does not answer: {error}") from error
