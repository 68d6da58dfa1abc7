"""The pages: files that are read at the start and served as they are, with headers that let nothing foreign in."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.live.view import View

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Scripts, styles, pictures and connections of our own and nothing else; no text ever becomes markup.
_OURS = (
    "default-src 'none'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
)
_POLICY = f"{_OURS}style-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'self'"
# Playout systems show templates in frames, of files too, which no list of ancestors can name; and add the channel's own styles.
_OVERLAY_POLICY = f"{_OURS}style-src 'self' 'unsafe-inline'"

_FILES = {
    entry.name: entry.read_bytes()
    for entry in files(__name__).iterdir()
    if entry.name[entry.name.rfind(".") :] in _TYPES
}

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(view: View) -> list[Route]:
    """Give the routes of all pages."""

    async def overlay(request: Request) -> Response:
        view.poll_id(request)
        return _file("overlay.html", request, _OVERLAY_POLICY)

    async def host(request: Request) -> Response:
        view.poll_id(request)
        return _file("host.html", request)

    async def index(request: Request) -> Response:
        return _file("index.html", request)

    return [
        Route("/", index),
        Route("/overlay/{show}/{poll}", overlay),
        Route("/host/{show}/{poll}", host),
        *(Route(f"/pages/{name}", _serves(name)) for name in _FILES if not name.endswith(".html")),
    ]


def _serves(name: str) -> Endpoint:
    async def serve(request: Request) -> Response:
        return _file(name, request)

    return serve


def _file(name: str, request: Request, policy: str = _POLICY) -> Response:
    content = _FILES[name]
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": policy}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[name[name.rfind(".") :]])
