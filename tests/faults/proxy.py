"""A TCP proxy of our own between a client and a real server: it can delay, refuse, and cut a connection in mid reply."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipeline.local.ports import LOOPBACK, free_port

CHUNK = 64 << 10


@dataclass
class Trap:
    """Waits for a request, and cuts its connection: after so many bytes of the reply, so that the client cannot know.

    Attributes:
        is_meant: tells a request by a chunk of its bytes.
        reply_bytes: how much of the reply still arrives.
        times: how many connections are cut.
        then: called when the request has been passed on whole, instead of the cut.
    """

    is_meant: Callable[[bytes], bool]
    reply_bytes: int = 4
    times: int = 1
    then: Callable[[], Awaitable[None]] | None = None
    sprung: asyncio.Event = field(default_factory=asyncio.Event)  # set when it has acted as often as it may


class Proxy:
    """Passes bytes on from a port of its own to a port of this machine, until it is told otherwise."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.latency_s = 0.0  # of each chunk of a reply
        self._target_port = target_port
        self._trap: Trap | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._acts: set[asyncio.Future[None]] = set()

    async def up(self) -> None:
        """Listen. The second time: again, on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, limit=CHUNK)

    async def down(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._abort(*self._open)
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def restore(self) -> None:
        """Do nothing special any more."""
        self.latency_s, self._trap = 0.0, None
        await self.up()

    def set(self, trap: Trap) -> None:
        """Lay a trap; there is one at a time."""
        self._trap = trap

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            to_reader, to_writer = await asyncio.open_connection(LOOPBACK, self._target_port, limit=CHUNK)
        except OSError:
            self._abort(writer)
            return
        finally:
            self._passing.discard(task)
        connection = _Connection(self, reader, writer, to_reader, to_writer)
        self._open |= {writer, to_writer}
        self._passing.add(task)
        try:
            await connection.pass_on()
        finally:
            self._abort(writer, to_writer)
            self._open -= {writer, to_writer}
            self._passing.discard(task)

    def caught(self, request: bytes) -> Trap | None:
        """Give the trap if it waits for this request; it is then one time less dangerous."""
        trap = self._trap
        if trap is None or not trap.is_meant(request):
            return None
        trap.times -= 1
        if trap.times == 0:
            self._trap = None
            trap.sprung.set()
        return trap

    def act(self, then: Callable[[], Awaitable[None]]) -> None:
        """Do what a trap is for, even if its connection ends by that."""
        act = asyncio.ensure_future(then())
        self._acts.add(act)
        act.add_done_callback(self._acts.discard)

    @staticmethod
    def _abort(*writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            writer.transport.abort()


@dataclass
class _Connection:
    proxy: Proxy
    client_in: asyncio.StreamReader
    client_out: asyncio.StreamWriter
    server_in: asyncio.StreamReader
    server_out: asyncio.StreamWriter
    cut_after: int | None = None  # bytes of the reply

    async def pass_on(self) -> None:
        """Pass on in both directions until either side ends, or the trap springs."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self.client_in.read(CHUNK):
                trap = self.proxy.caught(chunk)
                if trap is not None and trap.then is None:
                    self.cut_after = trap.reply_bytes
                self.server_out.write(chunk)
                await self.server_out.drain()
                if trap is not None and trap.then is not None:
                    self.proxy.act(trap.then)

    async def _replies(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self.server_in.read(CHUNK):
                if self.proxy.latency_s:
                    await asyncio.sleep(self.proxy.latency_s)
                if self.cut_after is not None:
                    self.client_out.write(chunk[: self.cut_after])
                    self.cut_after -= len(chunk)
                    if self.cut_after <= 0:
                        await self.client_out.drain()
                        return
                    continue
                self.client_out.write(chunk)
                await self.client_out.drain()
