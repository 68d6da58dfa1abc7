"""What a crowd of simulated viewers is to do."""

import ipaddress
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.domain.poll import PollId
from pipeline.errors import SettingError, UnavailableError


@dataclass(frozen=True)
class Plan:
    """A load. Shots come at their rate whether or not those before them were answered (an open loop)."""

    url: str  # of the edge: http://host:port
    poll_id: PollId
    options: Sequence[str]
    per_s: float  # shots: requests, or messages
    seconds: float
    connections: int = 200  # at once; over WebSocket: all of them, and each stays
    batch: int = 1  # votes in a request; more than one needs a token
    token: str | None = None
    is_socket: bool = False
    wants_result: bool = False  # over WebSocket: the running result, too
    timeout_s: float = 5.0
    tries: int = 5
    patience_s: float = 30.0  # of a viewer, over all tries
    seed: int = 1

    @property
    def host(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        try:
            port = parts.port or 80
        except ValueError:
            port = 0
        if parts.scheme != "http" or not parts.hostname or not port:
            raise SettingError(f"{self.url!r} is not an address like http://127.0.0.1:8091")
        return parts.hostname, port

    @property
    def shots(self) -> int:
        """How many requests or messages there will be, without retries."""
        return round(self.per_s * self.seconds)


def check_loopback(host: str) -> None:
    """Make sure that a host is this machine: a load is an attack on anybody else.

    Raises:
        SettingError: it is not.
        UnavailableError: it has no address.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise UnavailableError(f"{host} has no address: {error}") from error
    if not all(ipaddress.ip_address(address).is_loopback for address in found):
        raise SettingError(f"{host} is not this machine: --allow-remote if it is yours and you mean it")


@dataclass(eq=False, slots=True)
class Shot:
    """One request or message, with all its tries."""

    due: float  # s, monotonic: when it should have been sent, whatever kept it
    option: str  # of all its votes
    vote_id: str  # of the first of them
    body: bytes
    votes: int
    tries: int = 0
    may_be_in: bool = False  # a try had no answer: what it carried may be in the log
    last: str = field(default="unsent")  # what became of the last try


class Ballots:
    """Makes shots: other voters, other ids, each time."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._random = plan, random.Random(plan.seed)  # noqa: S311
        self._run = f"{random.SystemRandom().getrandbits(48):012x}"

    def shot(self, number: int, due: float) -> Shot:
        """Make a shot; all its votes are for one option."""
        option = self._random.choice(self._plan.options)
        first = number * self._plan.batch
        votes = [self._vote(first + index, option) for index in range(self._plan.batch)]
        body = votes[0] if self._plan.batch == 1 else "[" + ",".join(votes) + "]"
        return Shot(due, option, self._vote_id(first), body.encode(), len(votes))

    def _vote(self, number: int, option: str) -> str:
        voter = f"viewer-{self._run}-{number}"
        return f'{{"vote_id":"{self._vote_id(number)}","option_id":"{option}","voter":"{voter}"}}'

    def _vote_id(self, number: int) -> str:
        return f"{number & 0xFFFFFFFF:08x}-0000-4000-8000-{self._run}"
