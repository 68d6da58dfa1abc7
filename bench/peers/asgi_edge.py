"""The edge's own work behind a server of ASGI: what `bench/edge.py` compares our connection with.

`python -m bench.peers.asgi_edge uvicorn` (with httptools and uvloop) or `granian` (in Rust; embedded, with its ASGI).

It lacks what our connection does beside the votes (deadlines, limits of headers, CORS), so the comparison favours it.
"""

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server as Granian

from bench.peers.asgi import by_uvicorn, read_body, reply, serve
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId, open_poll
from pipeline.domain.record import Option, PollOpened
from pipeline.edge.ingest import Ingest
from pipeline.edge.polls import Polls
from pipeline.edge.publisher import VotePublisher
from pipeline.edge.tokens import Tokens
from pipeline.settings import load
from pipeline.web.problems import ProblemError

POLL = PollId("bench", "poll")
OPTIONS = ("ada", "bo", "cy", "di", "ed")


class Application:
    """Answers POSTs of votes, singly or in arrays."""

    def __init__(self, ingest: Ingest, tokens: Tokens) -> None:
        self._ingest, self._tokens = ingest, tokens

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        body = await read_body(receive)
        answered: asyncio.Future[ProblemError | None] = asyncio.get_running_loop().create_future()
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        problem = self._take(body, scope["client"][0], authorization, answered) or await answered
        status, content = (202, b'{"accepted":1}') if problem is None else (int(problem.status), problem.content("/"))
        await reply(send, status, content)

    def _take(
        self, body: bytes, address: str, authorization: bytes | None, answered: "asyncio.Future[ProblemError | None]"
    ) -> ProblemError | None:
        try:
            if authorization is None:
                self._ingest.take_one(POLL, body, address, answered.set_result)
            else:
                grant = self._tokens.verify(authorization.decode().removeprefix("Bearer "))
                self._ingest.take_forwarded(POLL, body, grant, answered.set_result)
        except ProblemError as problem:
            return problem
        return None


def _serving(server: str, application: Application, port: int) -> Awaitable[None]:
    if server == "granian":
        granian = Granian(
            application, port=port, interface=Interfaces.ASGI, websockets=False, backlog=4096, log_enabled=False
        )
        served: Awaitable[None] = granian.serve()
        return served
    return by_uvicorn(application, port)


async def main() -> None:
    """Serve until killed."""
    settings, polls = load(), Polls()
    polls.learn(open_poll(PollOpened(*POLL, now_ms(), tuple(Option(name) for name in OPTIONS))))
    async with VotePublisher(settings) as publisher:
        application = Application(Ingest(publisher, polls, settings), Tokens.from_settings(settings))
        await serve(_serving(sys.argv[1], application, settings.edge_port), settings.edge_port)


if __name__ == "__main__":
    uvloop.run(main())
