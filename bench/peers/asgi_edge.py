"""The edge's own work behind uvicorn (httptools, uvloop): what `bench/edge.py` compares our connection with.

It lacks what our connection does beside the votes (deadlines, limits of headers, CORS), so the comparison favours it.
"""

import asyncio
from typing import Any

import uvicorn
import uvloop

from pipeline.domain.poll import PollId, open_poll
from pipeline.domain.record import Option, PollOpened
from pipeline.edge.ingest import Ingest
from pipeline.edge.polls import Polls
from pipeline.edge.publisher import VotePublisher, now_ms
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
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        answered: asyncio.Future[ProblemError | None] = asyncio.get_running_loop().create_future()
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        problem = self._take(body, scope["client"][0], authorization, answered) or await answered
        status, content = (202, b'{"accepted":1}') if problem is None else (int(problem.status), problem.content("/"))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

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


async def main() -> None:
    """Serve until killed."""
    settings, polls = load(), Polls()
    polls.learn(open_poll(PollOpened(*POLL, now_ms(), tuple(Option(name) for name in OPTIONS))))
    async with VotePublisher(settings) as publisher:
        application = Application(Ingest(publisher, polls, settings), Tokens.from_settings(settings))
        config = uvicorn.Config(
            application,
            port=settings.edge_port,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            backlog=4096,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  # it has no event to wait for
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        await serving


if __name__ == "__main__":
    uvloop.run(main())
