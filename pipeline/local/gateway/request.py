"""What one HTTP request asks of the engine: read from URL, headers and form. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.local.gateway.refusal import INVALID_SETTING_NAME, RefusalError, not_done

# Parameters of the HTTP interface itself; every other name in the URL is a setting of the engine.
_TRANSPORT = frozenset(
    {
        *("query", "query_id", "database", "default_format", "user", "password", "quota_key"),
        *("session_id", "session_timeout", "session_check", "close_session"),
        *("wait_end_of_query", "buffer_size", "client_protocol_version", "stacktrace"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression"),
        *("compress", "decompress", "network_compression_method", "network_zstd_compression_level", "role"),
    }
)
_NOT_DONE = {
    "compress": "answers in ClickHouse's own compressed framing (compress=1)",
    "decompress": "bodies in ClickHouse's own compressed framing (decompress=1)",
    "role": "roles",
}
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_FALSE = frozenset({"", "0", "false"})


@dataclass(frozen=True)
class EngineRequest:
    """How to run a statement. ``parameters`` have no prefix and are escaped as in the URL, which the engine undoes."""

    database: str | None
    query: str  # from URL or form; the body continues it
    query_id: str | None
    default_format: str
    wait_for_end: bool
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


def read(method: str, headers: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> EngineRequest:
    """Sort the parameters of URL and form.

    Raises:
        RefusalError: a parameter asks for what the gateway does not have, or is no name of a setting.
    """
    given = dict(pairs)
    for name, what in _NOT_DONE.items():
        if given.get(name, "").lower() not in _FALSE:
            raise not_done(what)
    parameters = {name[6:]: value for name, value in given.items() if name.startswith("param_")}
    settings = {n: v for n, v in given.items() if n not in _TRANSPORT and not n.startswith("param_")}
    for name in (*settings, *parameters):
        if _SETTING_NAME.fullmatch(name) is None:
            raise RefusalError(INVALID_SETTING_NAME, f"Unknown setting '{name}'. (UNKNOWN_SETTING)")
    if method == "GET":
        settings.setdefault("readonly", "2")  # as the real server: GET changes nothing
    return EngineRequest(
        database=given.get("database") or headers.get("X-ClickHouse-Database"),
        query=given.get("query", ""),
        query_id=given.get("query_id") or None,
        default_format=given.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated",
        wait_for_end=given.get("wait_end_of_query", "").lower() not in _FALSE,
        settings=settings,
        parameters=parameters,
    )
