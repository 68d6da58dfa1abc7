"""The HTTP side: an event loop that only moves bytes, and worker threads that wait for the engine."""

import asyncio
import logging
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import IO

from aiohttp import web

from pipeline.local.gateway import request as requests
from pipeline.local.gateway.body import PIECE_BYTES, Body, ClientGoneError
from pipeline.local.gateway.engine import Engine, EngineConnection
from pipeline.local.gateway.refusal import RefusalError, not_done
from pipeline.local.gateway.reply import Reply
from pipeline.local.gateway.request import EngineRequest
from pipeline.local.gateway.statement import Insert, Statement, insert_with_data, plain

log = logging.getLogger(__name__)

_HEAD_BYTES = 256 << 10  # an INSERT's text, up to its data, must lie within it; as the engine's max_query_size
_MAX_STATEMENT_BYTES = 256 << 20  # with the rows of an INSERT ... VALUES
_SPOOL_BYTES = 32 << 20  # of a result that is sent when it is complete: the rest goes to a file
_FORM = "multipart/form-data"  # nothing else is: curl says of any body that it is an urlencoded one
_MAX_FORM_BYTES = 64 << 20


class Gateway:
    """Routes and handlers around one engine."""

    def __init__(self, engine: Engine, *, workers: int) -> None:
        self._engine = engine
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="query")

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=_MAX_FORM_BYTES)
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _lacking)
        app.router.add_get("/play", _lacking)
        app.router.add_get("/dashboard", _lacking)
        app.router.add_get("/", self._answer)
        app.router.add_post("/", self._answer)
        return app

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        query_id = http.query.get("query_id") or str(uuid.uuid4())
        reply = Reply(
            http,
            {
                "X-ClickHouse-Query-Id": query_id,
                "X-ClickHouse-Timezone": self._engine.timezone,
                "X-ClickHouse-Server-Display-Name": "airtally-local",
            },
        )
        loop = asyncio.get_running_loop()
        try:
            pairs = list(http.query.items())
            if http.content_type == _FORM and http.method == "POST":
                pairs += await _form(http)
            elif http.method == "GET" and not http.query.get("query"):
                return await _ok(http)
            asked = requests.read(http.method, http.headers, pairs)
            body = Body(http.content, http.headers.get("Content-Encoding", "").lower(), loop)
        except RefusalError as refusal:
            return await loop.run_in_executor(self._workers, _refused, reply, refusal)
        await loop.run_in_executor(self._workers, self._serve, asked, body, reply)
        return reply.response or web.Response(status=500)

    def _serve(self, asked: EngineRequest, body: Body, reply: Reply) -> None:
        """In a worker thread: everything from the statement to the last byte of the answer."""
        try:
            self._run(asked, body, reply)
        except RefusalError as refusal:
            log.info("refused: %s", refusal.text)
            _refused(reply, refusal)
        except ClientGoneError as error:
            log.warning("a client went away while it sent its request; nothing of it was kept: %s", error)
        except ConnectionError as error:
            log.warning("a client went away while it was answered: %s", error)
        except Exception as error:
            log.exception("a request failed")
            _refused(reply, RefusalError(1002, f"{type(error).__name__}: {error}. (UNKNOWN_EXCEPTION)"))

    def _run(self, asked: EngineRequest, body: Body, reply: Reply) -> None:
        in_url = asked.query.encode()
        insert = insert_with_data(in_url or body.head(_HEAD_BYTES))
        with self._engine.connection(asked) as connection:
            if insert is not None:
                _insert(connection, insert, in_url, body, reply)
                return
            text = body.rest(_MAX_STATEMENT_BYTES)
            _statement(connection, plain(in_url + b"\n" + text if in_url and text else in_url or text), asked, reply)


def _insert(connection: EngineConnection, insert: Insert, in_url: bytes, body: Body, reply: Reply) -> None:
    if in_url:
        data: Iterator[bytes] = chain([in_url[insert.data_at :]], body.pieces())
    else:
        body.skip(insert.data_at)
        data = body.pieces()
    connection.insert(insert, data)
    reply.start(output=None, summary=connection.summary.as_texts(), length=0)


def _statement(connection: EngineConnection, statement: Statement, asked: EngineRequest, reply: Reply) -> None:
    results = connection.results(statement, asked.default_format)
    output = (statement.format or asked.default_format) if statement.has_result else None
    if not asked.wait_for_end and statement.streams:
        first = next(results, b"")  # most exceptions come before the first row: they get a status of their own
        reply.start(output=output, summary=None, length=None)
        for piece in chain([first], results):
            reply.write(piece)
        return
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        for piece in results:
            spool.write(piece)
        length = spool.tell()
        spool.seek(0)
        reply.start(output=output, summary=connection.summary.as_texts(), length=length)
        for piece in _read(spool):
            reply.write(piece)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _refused(reply: Reply, refusal: RefusalError) -> web.StreamResponse:
    try:
        reply.refuse(refusal)
    except ConnectionError as error:
        log.warning("a client did not wait for its exception: %s", error)
    return reply.response or web.Response(status=refusal.status)


async def _form(http: web.Request) -> list[tuple[str, str]]:
    """The fields of a form: query and parameters. Files are external data, which the gateway does not take."""
    pairs: list[tuple[str, str]] = []
    for name, value in (await http.post()).items():
        if not isinstance(value, str):
            raise not_done("external data")
        pairs.append((name, value))
    return pairs


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _lacking(http: web.Request) -> web.Response:
    refusal = not_done(f"the page {http.path}")
    return web.Response(status=refusal.status, body=refusal.body, headers={"X-ClickHouse-Exception-Code": "48"})
