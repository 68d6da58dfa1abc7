"""The real ClickHouse engine for one machine: chDB behind our own HTTP gateway, see ``pipeline.local.gateway``."""

import http.client
import importlib.metadata
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import MissingToolError, UnavailableError
from pipeline.local.ports import LOOPBACK
from pipeline.local.process import Launch
from pipeline.settings import masked

NAME = "ClickHouse"
STANDARD_PORT = 8123
_ANSWER_S = 2.0


def url(port: int) -> str:
    """The address for clients."""
    return f"http://{LOOPBACK}:{port}"


def version() -> str:
    """The engine's version, such as "26.9.0".

    Raises:
        MissingToolError: the engine is not installed.
    """
    try:
        return importlib.metadata.version("chdb-core")
    except importlib.metadata.PackageNotFoundError:
        raise MissingToolError(
            "chdb, the ClickHouse engine, is not installed. Install it (pip install 'airtally[local]'), or give the "
            "address of a running ClickHouse in AIRTALLY_CLICKHOUSE_URL."
        ) from None


def launch(folder: Path, port: int) -> Launch:
    """A gateway on ``port`` with its tables in ``folder``.

    Raises:
        MissingToolError: see ``version``.
    """
    version()
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "pipeline.local.gateway", "--path", str(folder.resolve() / "data")]
    argv += ["--host", LOOPBACK, "--port", str(port)]
    address = url(port)
    environment = {**os.environ, "TZ": "UTC"}  # the engine's time zone, as in the official image
    return Launch(NAME, argv, folder / "clickhouse.log", lambda: answers(address), environment, grace_s=30.0)


def answers(address: str) -> None:
    """Ask ``/ping``.

    Raises:
        UnavailableError: no "Ok." came back.
    """
    require_ok(f"{address.rstrip('/')}/ping", "ClickHouse")


def require_ok(address: str, name: str) -> None:
    """GET an http or https address and want status 200.

    Raises:
        UnavailableError: anything else happened.
    """
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or LOOPBACK, parts.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        text = response.read(200).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{name} at {masked(address)} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise UnavailableError(f"{name} at {masked(address)} answers {response.status}: {text.strip()}")
