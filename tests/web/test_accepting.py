"""Accepting: a crowd in a few rounds of the event loop, and nobody beyond the room there is."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
import uvloop

from pipeline.web.accepting import LOOK_S, MOST_IN_A_ROUND, PAUSE_S, SHORT_BACKLOG, Acceptor

CROWD = 400


class Guest(asyncio.Protocol):
    """A connection that counts itself."""

    open: set["Guest"]
    transport: asyncio.Transport
    has_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        options = transport.get_extra_info("socket")
        assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.open.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.open.discard(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.has_answered = True


@pytest.fixture
def crowd() -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listening socket, and clients that have connected to it and are not accepted."""
    Guest.open = set()
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CROWD))
        clients = [
            stack.enter_context(socket.create_connection(listening.getsockname(), timeout=10)) for _ in range(CROWD)
        ]
        yield listening, clients


async def until_open(guests: int) -> None:
    async with asyncio.timeout(10):
        while len(Guest.open) != guests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def leave() -> None:
    for guest in list(Guest.open):
        guest.transport.close()
    await until_open(0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_crowd_is_accepted_in_a_few_rounds(run, crowd: tuple[socket.socket, list[socket.socket]]) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    async def rounds() -> int:
        acceptor, number = Acceptor(crowd[0], Guest, lambda: 1_000_000), 0
        while len(Guest.open) < CROWD:
            await asyncio.sleep(0)
            number += 1
        acceptor.close()
        await leave()
        return number

    assert run(rounds()) < 10 * CROWD / MOST_IN_A_ROUND  # a server of uvloop needs one for each connection


def test_who_finds_no_room_waits_for_it_and_loses_nothing(crowd: tuple[socket.socket, list[socket.socket]]) -> None:
    listening, clients = crowd
    for client in clients:
        client.sendall(b"a vote")

    async def play() -> None:
        acceptor = Acceptor(listening, Guest, lambda: 10 - len(Guest.open))
        left: set[Guest] = set()
        most = 0
        while len(left) < CROWD:
            most = max(most, len(Guest.open))
            for guest in [each for each in Guest.open - left if each.has_answered]:
                left.add(guest)
                guest.transport.close()
            await asyncio.sleep(0.001)
        assert most == 10
        acceptor.close()
        acceptor.close()
        await until_open(0)

    uvloop.run(play())
    assert [client.recv(100) for client in clients] == [b"a vote"] * CROWD


def test_a_closed_acceptor_leaves_connections_alone_and_takes_none(
    crowd: tuple[socket.socket, list[socket.socket]],
) -> None:
    listening, clients = crowd

    async def play() -> None:
        acceptor = Acceptor(listening, Guest, lambda: 10 - len(Guest.open))
        await until_open(10)
        acceptor.close()
        for guest in list(Guest.open)[:5]:
            guest.transport.close()
        await asyncio.sleep(10 * LOOK_S)
        assert len(Guest.open) == 5
        served = next(iter(Guest.open)).transport.get_extra_info("peername")
        client = next(each for each in clients if each.getsockname() == served)
        client.sendall(b"still here")
        assert await asyncio.to_thread(client.recv, 100) == b"still here"
        await leave()

    uvloop.run(play())


def test_few_wait_in_the_kernel_while_there_is_no_room_and_all_come_in_when_there_is() -> None:
    Guest.open = set()
    is_open = False

    async def play(listening: socket.socket) -> None:
        nonlocal is_open
        acceptor = Acceptor(listening, Guest, lambda: 1_000_000 if is_open else 0)
        with contextlib.ExitStack() as stack:

            async def client() -> None:
                connecting = stack.enter_context(socket.socket())
                connecting.setblocking(False)
                await asyncio.get_running_loop().sock_connect(connecting, listening.getsockname())

            # The first has the acceptor look.
            clients = [asyncio.create_task(client())]
            await asyncio.sleep(3 * LOOK_S)
            clients += [asyncio.create_task(client()) for _ in range(CROWD)]
            await asyncio.sleep(0.3)
            assert SHORT_BACKLOG <= sum(each.done() for each in clients) <= SHORT_BACKLOG + 2
            is_open = True
            async with asyncio.timeout(10):  # their kernel tries again after a second
                await asyncio.gather(*clients)
            await until_open(CROWD + 1)
            is_open = False
            clients = [asyncio.create_task(client())]
            await asyncio.sleep(3 * LOOK_S)
            is_open = True
            await asyncio.sleep(2 * PAUSE_S)  # nobody comes meanwhile
            async with asyncio.timeout(0.9):  # at once: nobody's kernel has to try again
                await asyncio.gather(*[asyncio.create_task(client()) for _ in range(CROWD)])
            await until_open(2 * CROWD + 2)
            acceptor.close()
            await leave()

    with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as listening:
        uvloop.run(play(listening))
