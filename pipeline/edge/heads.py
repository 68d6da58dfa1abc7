"""What a request's head must be, whatever it is for (RFC 9112), and which of its headers somebody asks for."""

from collections.abc import Collection
from http import HTTPStatus

from pipeline.edge.messages import Request
from pipeline.web.problems import ProblemError

MAX_HEAD = 16 << 10  # bytes of a request's line and headers
HEADER_COST = 32  # bytes that a header costs besides its own (RFC 9113, 6.5.2, counts so)
MOST_DIGITS = 20  # of a body's length: Python refuses to read some thousands of them

_OF_UPGRADES = frozenset((b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version"))
_OF_BODIES = frozenset((b"content-encoding", b"content-length", b"content-type", b"expect", b"transfer-encoding"))
WANTED = frozenset((b"authorization", b"host", b"origin", b"x-forwarded-for")) | _OF_BODIES | _OF_UPGRADES


def check_head(request: Request, header_bytes: int, version: str) -> None:
    """Make sure that a request can be read as its client means it, and take its target apart.

    Args:
        request: its path is the target as it came.
        header_bytes: of all its headers, with what each costs besides.
        version: of HTTP, such as "1.1".

    Raises:
        ProblemError: it cannot, nor can what comes after it.
    """
    headers = request.headers
    if header_bytes + len(request.path) > MAX_HEAD:
        raise too_large_head()
    if request.method == "CONNECT":
        raise _not_http("CONNECT is for proxies, and this is none")
    host = headers.get(b"host")
    if b"," in host if host is not None else version != "1.0":
        raise _not_http("send one Host")  # 3.2
    if len(headers.get(b"content-length", b"")) > MOST_DIGITS:
        raise _not_http("Content-Length has more digits than any body needs")
    if b"transfer-encoding" in headers:
        _check_coding(headers[b"transfer-encoding"], version)
    request.path, _, request.query = request.path.partition("?")
    if request.path[:1] != "/":
        _take_host_from_target(request)


def _check_coding(coding: bytes, version: str) -> None:
    """Refuse a body that may end elsewhere for a proxy on its way, or whose content is not what it seems (6.1)."""
    if version == "1.0":
        raise _not_http("HTTP/1.0 has no Transfer-Encoding")
    if coding.lower() != b"chunked":
        raise ProblemError(
            HTTPStatus.NOT_IMPLEMENTED,
            f"Transfer-Encoding {coding[:40].decode('latin-1')!r} is not read here: chunked is, and nothing besides",
        )


def _take_host_from_target(request: Request) -> None:
    """Understand a target that names its host, as one for a proxy does; the header says nothing then (3.2.2)."""
    scheme, _, rest = request.path.partition("://")
    if scheme.lower() in {"http", "https"}:
        host, _, path = rest.partition("/")
        request.path, request.headers[b"host"] = f"/{path}", host.encode("latin-1")


def is_for_a_socket(request: Request) -> bool:
    """Tell whether a request that asks for an upgrade asks for a WebSocket (RFC 6455, 4.2.1): with a body it does not."""
    protocols = request.header(b"upgrade").lower().split(",")
    has_body = b"transfer-encoding" in request.headers or request.headers.get(b"content-length", b"").strip(b"0") != b""
    return request.method == "GET" and not has_body and "websocket" in (each.strip() for each in protocols)


def handshake(request: Request) -> bytes:
    """Write a request for a WebSocket again, for a parser of its own."""
    return _written(request, "1.1", _OF_BODIES)


def without_upgrade(request: Request, version: str) -> bytes:
    """Write a request again, without the upgrade that it asks for."""
    return _written(request, version, _OF_UPGRADES, b"" if request.keep_alive else b"connection: close\r\n")


def _written(request: Request, version: str, without: Collection[bytes], more: bytes = b"") -> bytes:
    lines = b"".join(b"%b: %b\r\n" % each for each in request.headers.items() if each[0] not in without)
    return b"%b%b%b\r\n" % (f"{request.method} {request.path} HTTP/{version}\r\n".encode("latin-1"), lines, more)


def too_large_head() -> ProblemError:
    """Tell how large a head may be."""
    return ProblemError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"address and headers may have {MAX_HEAD} bytes, and each header counts for {HEADER_COST} more",
    )


def _not_http(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, kind="not-http")
