"""Ports on the loopback interface: a free one, or a clear refusal of one that is taken."""

import random
import socket
from collections import deque
from contextlib import suppress

import psutil

from pipeline.errors import PortInUseError

LOOPBACK = "127.0.0.1"

# Below the ranges from which Linux (32768 up) and macOS (49152 up) give ports to outgoing connections: a port that was
# free a moment ago must not become somebody's client port in the seconds that a Java server needs to bind it.
_FIRST, _LAST = 20_000, 32_000

_choice = random.SystemRandom()
_given: deque[int] = deque(maxlen=1_000)  # by this process: its servers may not listen there yet


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a predecessor in TIME_WAIT do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that nobody listens on at this moment, and that this process was not given lately.

    Raises:
        PortInUseError: none was found in many attempts.
    """
    for _ in range(1_000):
        port = _choice.randrange(_FIRST, _LAST)
        if port not in _given and is_free(port):
            _given.append(port)
            return port
    raise PortInUseError(f"no free port found between {_FIRST} and {_LAST} on {LOOPBACK}")


def require_free(port: int, wanted_by: str) -> int:
    """Return ``port`` if a server can listen on it.

    Raises:
        PortInUseError: somebody else listens there; the text names the process if the system tells.
    """
    if is_free(port):
        return port
    raise PortInUseError(
        f"{wanted_by} wants port {port} on {LOOPBACK}, but {_holder(port)} listens there. "
        "Stop it, or choose another port (`airtally up --any-port` takes free ones; AIRTALLY_LIVE_PORT and "
        "AIRTALLY_EDGE_PORT are those of pages and votes), or name what already runs, if it is Kafka, Redis or ClickHouse, "
        "by AIRTALLY_KAFKA, AIRTALLY_REDIS_URL or AIRTALLY_CLICKHOUSE_URL."
    )


def _holder(port: int) -> str:
    """Who listens, as far as this user may know: macOS tells only root about other processes' sockets."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return "a process of another user"
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"
