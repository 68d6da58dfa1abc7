"""Problems as Starlette answers with them."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipeline.web.problems import MEDIA_TYPE, ProblemError


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer with a problem that we raised."""
    if not isinstance(error, ProblemError):
        raise error
    return _response(request, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer with a problem that the framework raised: no such address, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    return _response(request, ProblemError(HTTPStatus(error.status_code), error.detail, error.headers))


async def on_bug(request: Request, _error: Exception) -> Response:
    """Answer for a bug of ours, without telling what is inside; the log has it."""
    return _response(
        request, ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "the request could not be served; see the log")
    )


def _response(request: Request, problem: ProblemError) -> Response:
    return Response(
        problem.content(request.url.path),
        problem.status,
        {**problem.headers, "Cache-Control": "no-store"},
        media_type=MEDIA_TYPE,
    )
