"""uvicorn inside our own event loop: our socket, our signals, and streams that end before it waits for them."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.live.hub import Hub
from pipeline.web.listening import BACKLOG

GRACE_S = 3
HEAD_S = 10.0  # for a request's head to arrive
# Of a connection, in the kernel: what waits here is old before it is read, and thousands of readers share the memory.
SEND_BUFFER_BYTES = 32 << 10
WRITE_BUFFER_BYTES = 8 << 10  # and before that, in the process: some events


class Connection(HttpToolsProtocol):
    """uvicorn's, which does not wait for ever for a request: silent clients would take all files there are."""

    _arriving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._arrives_in(HEAD_S)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._arriving is None:
            self._arrives_in(HEAD_S)

    def on_headers_complete(self) -> None:
        """Serve it."""
        self._has_arrived()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._has_arrived()
        super().connection_lost(exc)

    def _arrives_in(self, seconds: float) -> None:
        self._arriving = self.loop.call_later(seconds, self.transport.abort)

    def _has_arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None


class Server(uvicorn.Server):
    """Ends when told by a signal, and then ends the streams first: they would never end by themselves."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
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
