"""The display's door: JSON, event streams and pages, as one ASGI application."""

import hashlib
from collections.abc import Collection
from importlib.resources import files

import orjson
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import UnavailableError
from pipeline.live.edges import EdgeReader
from pipeline.live.hub import Hub
from pipeline.live.pages import routes as page_routes
from pipeline.live.problems import on_bug, on_http_exception, on_problem
from pipeline.live.stream import EventStream
from pipeline.live.view import View
from pipeline.web.problems import ProblemError, away

_OPENAPI = (files("pipeline.live") / "openapi.json").read_bytes()

_ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def application(
    view: View, hub: Hub, edge_reader: EdgeReader, most_readers: int, origins: Collection[str] = ()
) -> Starlette:
    """Make the application. Pages of the origins may read it, too."""

    async def shows(request: Request) -> Response:
        content = orjson.dumps({"shows": _by_show(view)})
        return answer(request, content, hashlib.sha256(content).hexdigest()[:16])

    async def poll(request: Request) -> Response:
        shown = view.shown(view.poll_id(request))
        return answer(request, shown.encoded, str(shown.version))

    async def seconds(request: Request) -> Response:
        series = view.series(view.poll_id(request))
        return answer(request, series, hashlib.sha256(series).hexdigest()[:16])

    async def edges(request: Request) -> Response:
        poll = view.shown(view.poll_id(request)).snapshot
        try:
            content = await edge_reader.read(poll)
        except UnavailableError as error:
            raise away(str(error)) from error
        return answer(request, content, hashlib.sha256(content).hexdigest()[:16])

    async def openapi(request: Request) -> Response:
        return answer(request, _OPENAPI, hashlib.sha256(_OPENAPI).hexdigest()[:16])

    name = "/v1/shows/{show}/polls/{poll}"
    made = Starlette(
        routes=[
            Route("/v1/shows", shows),
            Route(name, poll),
            Route(f"{name}/seconds", seconds),
            Route(f"{name}/edges", edges),
            Route(f"{name}/events", EventStream(view, hub, most_readers), methods=["GET"]),
            Route("/openapi.json", openapi),
            *page_routes(view),
        ],
        exception_handlers={ProblemError: on_problem, HTTPException: on_http_exception, Exception: on_bug},
    )
    made.router.redirect_slashes = False
    if origins:
        made.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=("GET", "HEAD"), expose_headers=("ETag",)
        )
    made.add_middleware(SafeHeaders)
    return made


def answer(request: Request, content: bytes, tag: str) -> Response:
    """Answer with JSON, or with 304 if the client has it already (RFC 9110, 13.1.2)."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")


def is_known(request: Request, tag: str) -> bool:
    """Tell whether the client has this very version; compared weakly, as is due for a GET."""
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    return "*" in known or f'"{tag}"' in known


class SafeHeaders:
    """Adds to each answer what keeps browsers from guessing and telling."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_ALWAYS)
            await send(message)

        await self._app(scope, receive, send_with)


def _by_show(view: View) -> list[dict[str, object]]:
    shows: dict[str, list[dict[str, object]]] = {}
    for shown in view.all():
        poll = shown.snapshot
        shows.setdefault(poll.show_id, []).append(
            {
                "poll_id": poll.poll_id,
                "status": poll.status,
                "total": poll.total,
                "opened_at": poll.opened_at,
                "closed_at": poll.closed_at,
            }
        )
    return [{"show_id": show_id, "polls": polls} for show_id, polls in shows.items()]
