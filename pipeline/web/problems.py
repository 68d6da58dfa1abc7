"""What a request is told that cannot be served: `application/problem+json` (RFC 9457)."""

import random
from collections.abc import Mapping
from http import HTTPStatus

import orjson

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class ProblemError(Exception):
    """A request that cannot be served. Its text goes to the client.

    Args:
        status: of the answer.
        detail: what is wrong with this request, for a person.
        headers: of the answer, further ones.
        kind: what is wrong, for a program: the last part of the problem's `type`.
        members: further members of the problem, for a program.

    Attributes:
        is_shared: many are told this very problem, so its answer is worth keeping.
    """

    is_shared = False

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        self.kind, self.members = kind, dict(members or {})

    def content(self, path: str) -> bytes:
        """Write the problem of a request for this path."""
        return orjson.dumps(
            {
                "type": f"urn:airtally:problem:{self.kind}" if self.kind else "about:blank",
                "title": self.status.phrase,
                "status": int(self.status),
                "detail": self.detail,
                "instance": path,
                **self.members,
            }
        )


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


def again_later(
    status: HTTPStatus, detail: str, kind: str, *, least_s: float = 1.0, spread_s: float = 4.0
) -> ProblemError:
    """Tell when to come again, each client another moment, lest all of them come back at once.

    `Retry-After` has whole seconds; the member `retry_after_ms` has the moment itself.
    """
    wait_s = least_s + random.uniform(0, spread_s)  # noqa: S311  # spreads load, guards nothing
    members = {"retry_after_ms": round(wait_s * 1000)}
    return ProblemError(status, detail, {"Retry-After": str(max(1, round(wait_s)))}, kind=kind, members=members)
