"""What a request is told that cannot be served: `application/problem+json` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

RETRY_AFTER_S = 1


class ProblemError(Exception):
    """A request that cannot be served. Its text goes to the client."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def not_found(detail: str) -> ProblemError:
    """There is no such thing."""
    return ProblemError(HTTPStatus.NOT_FOUND, detail)


def odd_id(name: str, value: str) -> ProblemError:
    """What should be an id is none, and goes no further."""
    shown = value if len(value) <= 80 else value[:80] + "..."
    return ProblemError(
        HTTPStatus.BAD_REQUEST, f"{name} {shown!r} is not an id: 1 to 63 of a-z, 0-9 and -, not beginning with -"
    )


def away(detail: str) -> ProblemError:
    """Nothing to show for now."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer with a problem that we raised."""
    if not isinstance(error, ProblemError):
        raise error
    return _response(request, error.status, error.detail, error.headers)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer with a problem that the framework raised: no such address, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    return _response(request, HTTPStatus(error.status_code), error.detail, error.headers or {})


async def on_bug(request: Request, _error: Exception) -> Response:
    """Answer for a bug of ours, without telling what is inside; the log has it."""
    return _response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be served; see the log", {})


def _response(request: Request, status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> Response:
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.url.path,
    }
    return Response(
        orjson.dumps(content),
        status,
        {**headers, "Cache-Control": "no-store"},
        media_type="application/problem+json",
    )
