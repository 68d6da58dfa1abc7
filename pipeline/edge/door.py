"""What each request is answered: addresses, methods, who may, and which pages (CORS)."""

import ipaddress
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from importlib.resources import files
from typing import NamedTuple

from pipeline.domain.poll import PollId
from pipeline.domain.record import is_id
from pipeline.edge.ingest import Ingest
from pipeline.edge.messages import JSON, Reply, Request, accepted, problem_reply
from pipeline.edge.tokens import Grant, Tokens
from pipeline.settings import Settings
from pipeline.web.origins import origins_of
from pipeline.web.problems import ProblemError, not_found, odd_id

MAX_POSTED = 4 << 10  # bytes of a viewer's body
MAX_FORWARDED = 640 << 10  # of an edge in front: 500 votes, each as long as can be, in any characters
PREFLIGHT_S = 24 * 60 * 60

Respond = Callable[[Reply], None]

_POLL = re.compile(r"/v1/shows/([^/]*)/polls/([^/]*)/(votes|socket)").fullmatch
_OPENAPI = (files("pipeline.edge") / "openapi.json").read_bytes()


class Target(NamedTuple):
    """What an address names."""

    kind: str  # "votes", "socket", "openapi"
    poll_id: PollId | None
    methods: tuple[str, ...]


class Door:
    """The addresses of the edge."""

    def __init__(self, ingest: Ingest, tokens: Tokens, settings: Settings) -> None:
        self.ingest = ingest
        self._tokens, self._is_public = tokens, settings.edge_public
        self._origins = origins_of(settings.edge_origins)
        self._proxies = frozenset(_plain(each.strip()) for each in settings.edge_proxies.split(",") if each.strip())

    def admit(self, request: Request) -> int:
        """Look at a request's head; give how long its body may be (bytes).

        Raises:
            ProblemError: it is not admitted.
        """
        target = target_of(request.path)
        if request.method not in target.methods:
            raise ProblemError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"{request.method[:20]} is not for this address",
                {"Allow": ", ".join(target.methods)},
            )
        request.address = network_of(self._forwarded_for(request) if self._proxies else request.address)
        if request.method != "POST":
            return 0
        request.grant = self._granted(request)
        if not _is_json(request.headers.get(b"content-type", b"")):
            raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {JSON}", {"Accept": JSON})
        if request.headers.get(b"content-encoding", b"").lower() not in {b"", b"identity"}:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "send it as it is, without Content-Encoding",
                {"Accept-Encoding": "identity"},
            )
        return MAX_POSTED if request.grant is None else MAX_FORWARDED

    def take(self, request: Request, respond: Respond) -> None:
        """Serve a request that was admitted and read. `respond` is called once, now or later."""
        target = target_of(request.path)
        try:
            if request.method == "OPTIONS":
                respond(_preflight(", ".join(target.methods)))
            elif target.kind == "openapi":
                respond(Reply(HTTPStatus.OK, _OPENAPI))
            elif target.kind == "socket" or target.poll_id is None:
                respond(self.refusal(_socket_only(), request))
            else:
                self._take_votes(request, target.poll_id, respond)
        except ProblemError as problem:
            respond(self.refusal(problem, request))

    def refusal(self, problem: ProblemError, request: Request) -> Reply:
        """Make the reply to a request that is not served."""
        self.ingest.refused(problem)
        return problem_reply(problem, request.path)

    def cors(self, request: Request) -> bytes:
        """Give the header lines that let a page of another origin read the answer (Fetch, "CORS protocol")."""
        origin = request.headers.get(b"origin")
        if origin is None or not self._origins:
            return b""
        if "*" in self._origins:
            return b"Access-Control-Allow-Origin: *\r\n"
        if origin.decode("latin-1") in self._origins:
            return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % origin
        return b"Vary: Origin\r\n"

    def poll_of_socket(self, request: Request) -> PollId:
        """Say which poll a WebSocket is for.

        Raises:
            ProblemError: none, or the page that opens it may not (a browser asks nobody, so we do).
        """
        self.admit(request)
        target = target_of(request.path)
        if target.kind != "socket" or target.poll_id is None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "there is no WebSocket at this address")
        if not self._is_public:
            raise _token_needed()
        origin = request.header(b"origin")
        allowed = not origin or "*" in self._origins or origin in self._origins
        if not allowed and origin.partition("://")[2] != request.header(b"host"):
            raise ProblemError(HTTPStatus.FORBIDDEN, f"pages of {origin[:80]!r} may not vote here", kind="origin")
        return target.poll_id

    def _take_votes(self, request: Request, poll_id: PollId, respond: Respond) -> None:
        votes = 1

        def answer(problem: ProblemError | None) -> None:
            respond(accepted(votes) if problem is None else self.refusal(problem, request))

        if request.grant is not None:
            votes = self.ingest.take_forwarded(poll_id, request.body, request.grant, answer)
        elif request.body.lstrip()[:1] == b"[":
            raise _token_needed("an array of votes is for edges in front, which have a token")
        else:
            self.ingest.take_one(poll_id, request.body, request.address, answer)

    def _granted(self, request: Request) -> Grant | None:
        if self._is_public and b"authorization" not in request.headers:
            return None
        scheme, _, token = request.header(b"authorization").partition(" ")
        if scheme.lower() != "bearer":
            raise _token_needed()
        return self._tokens.verify(token.strip())

    def _forwarded_for(self, request: Request) -> str:
        """Give the address that the nearest proxy which is not ours has told one of ours."""
        address = request.address
        told = request.header(b"x-forwarded-for").split(",")
        while _plain(address) in self._proxies and told and (nearer := _address_in(told.pop().strip())):
            address = nearer
        return address


@lru_cache(maxsize=4096)
def target_of(path: str) -> Target:
    """Find what an address names.

    Raises:
        ProblemError: nothing (404), or with an odd id (400).
    """
    if path == "/openapi.json":
        return Target("openapi", None, ("GET", "HEAD", "OPTIONS"))
    found = _POLL(path)
    if found is None:
        raise not_found("there is nothing at this address; /openapi.json has all of them")
    show, poll, kind = found.groups()
    for name, value in (("show", show), ("poll", poll)):
        if not is_id(value):
            raise odd_id(name, value)
    return Target(kind, PollId(show, poll), ("POST", "OPTIONS") if kind == "votes" else ("GET",))


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == JSON.encode()


@lru_cache(maxsize=65_536)
def network_of(address: str) -> str:
    """Give what one viewer's addresses have in common: an IPv4 address, or the first 64 bits of an IPv6 address."""
    plain = _plain(address)
    with suppress(ValueError):
        return str(ipaddress.IPv6Network((plain, 64), strict=False))
    return plain


def _address_in(told: str) -> str:
    """Find the address in what a proxy tells, some with a port: `1.2.3.4:56`, `[2001:db8::1]:56`. Empty: there is none."""
    for each in (told, told.partition("]")[0].removeprefix("["), told.partition(":")[0]):
        with suppress(ValueError):
            return str(ipaddress.ip_address(each))
    return ""


@lru_cache(maxsize=65_536)
def _plain(address: str) -> str:
    """Write an address as all others write it (RFC 5952); an IPv4 address as such, also where it came by IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


@lru_cache(maxsize=16)
def _preflight(methods: str) -> Reply:
    return Reply(
        HTTPStatus.NO_CONTENT,
        b"",
        {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        },
    )


def _socket_only() -> ProblemError:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return ProblemError(HTTPStatus.UPGRADE_REQUIRED, "this address speaks WebSocket", headers)


def _token_needed(detail: str = "this needs an access token") -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"}, kind="token-needed")
