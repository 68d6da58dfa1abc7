"""uvicorn inside our own event loop: our socket, our signals, and streams that end before it waits for them."""

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from pipeline.errors import PortInUseError
from pipeline.live.hub import Hub

GRACE_S = 3
BACKLOG = 4096  # all readers connect again at the same moment after a restart
# Of a connection, in the kernel: what waits here is old before it is read, and thousands of readers share the memory.
SEND_BUFFER_BYTES = 32 << 10


class Server(uvicorn.Server):
    """Ends when told by a signal, and then ends the streams first: they would never end by themselves."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._hub = hub

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT as a wish to end, not, as uvicorn does, to raise them again afterwards."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything else."""
        await self._hub.close()
        await super().shutdown(sockets)

    def _end(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        PortInUseError: somebody else listens there.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise PortInUseError(
            f"{host}:{port} cannot be listened on ({error.strerror}): set AIRTALLY_LIVE_PORT to a free port, or to 0"
        ) from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted ones inherit it
    return listening


def allow_connections(readers: int) -> None:
    """Raise this process's limit of open files as far as the readers need and the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = readers + 512
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
