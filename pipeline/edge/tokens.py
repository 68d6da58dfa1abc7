"""Access tokens of edges in front: JSON Web Tokens (RFC 7519, HS256), one per edge, revocable, two keys while one is replaced.

The first key signs, all of them verify. To replace a key: put the new one first, mint new tokens, hand them out, and drop
the old key. A token is revoked by its own id (`jti`) or with all others of its edge, in a set that edges look at. A running
edge does not let it in again when Redis has lost the set.
"""

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

import jwt

from pipeline.domain.record import is_id
from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError

AUDIENCE = "airtally-edge"
MIN_KEY = 32  # characters
DAY_S = 24 * 60 * 60
_ALGORITHM = "HS256"
_REMEMBERED = 1000  # tokens whose signature was verified

REVOKED_KEY = "airtally:edge:revoked"  # a set in Redis: edges and token ids
# Begins members that are no ids. One stays: with another, or none, it is not the set that it was. One is a number, which grows
# with each change: if it is less than it was, the last changes are lost.
MARK = "-"


@dataclass(frozen=True)
class Grant:
    """What a token says."""

    edge_id: str
    token_id: str
    expires_at: float  # s since the epoch


class Tokens:
    """Mints and verifies tokens."""

    def __init__(self, keys: dict[str, str]) -> None:
        """Choose the keys, by their names; the first signs."""
        self._keys = keys
        self._verified: dict[str, Grant] = {}
        self._revoked: frozenset[str] = frozenset()
        self._lost = self._revoked  # of them, those of a set, or changes, that are gone
        self._mark, self._changes = "", 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Tokens":
        """Read the keys of the settings, `name:key,name:key`.

        Raises:
            SettingError: they are not of that form, or too short.
        """
        text = settings.edge_token_keys.get_secret_value() if settings.edge_token_keys else ""
        keys: dict[str, str] = {}
        for part in filter(None, text.split(",")):
            name, _, key = part.strip().partition(":")
            if not is_id(name) or len(key) < MIN_KEY:
                raise SettingError(
                    f"AIRTALLY_EDGE_TOKEN_KEYS is to be name:key,name:key with keys of at least {MIN_KEY} random characters"
                )
            keys[name] = key
        return cls(keys)

    def refuse(self, found: Collection[str]) -> None:
        """Take note of what the set holds; what one held that was lost since goes on."""
        mark, changes = marks_of(found)
        if mark != self._mark or changes < self._changes:
            self._lost = self._revoked.difference(found)
        self._mark, self._changes = mark, changes
        self._revoked = self._lost.union(found)

    def mint(self, edge_id: str, days: float) -> tuple[str, Grant]:
        """Make a token for an edge.

        Raises:
            SettingError: there is no key to sign with, or the edge's name is none.
        """
        if not self._keys:
            raise SettingError("AIRTALLY_EDGE_TOKEN_KEYS is not set: name:key, the key by `openssl rand -hex 32`")
        if not is_id(edge_id):
            raise SettingError(f"EDGE {edge_id!r} is not an id: 1 to 63 of a-z, 0-9 and -, not beginning with -")
        now = int(time.time())
        grant = Grant(edge_id, str(uuid.uuid4()), now + days * DAY_S)
        name, key = next(iter(self._keys.items()))
        claims = {"aud": AUDIENCE, "sub": edge_id, "jti": grant.token_id, "iat": now, "exp": int(grant.expires_at)}
        return jwt.encode(claims, key, _ALGORITHM, headers={"kid": name}), grant

    def verify(self, token: str) -> Grant:
        """Read a token.

        Raises:
            ProblemError: it is not valid, or was revoked (401).
        """
        grant = self._verified.get(token)
        if grant is None:
            grant = self._read(token)
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[token] = grant
        if grant.expires_at <= time.time():
            raise _refused("the token has expired")
        if grant.edge_id in self._revoked or grant.token_id in self._revoked:
            raise _refused("the token was revoked")
        return grant

    def _read(self, token: str) -> Grant:
        try:
            key = self._keys[str(jwt.get_unverified_header(token).get("kid"))]
            claims = jwt.decode(
                token,
                key,
                [_ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["exp", "sub", "jti"], "verify_iat": False},  # whose clock is ahead means no harm
            )
            return Grant(str(claims["sub"]), str(claims["jti"]), float(claims["exp"]))
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            raise _refused("the token is not one of ours, or has expired") from error


def marks_of(found: Collection[str]) -> tuple[str, int]:
    """Give the mark of a set of revoked names, empty if it has none, and the number of its last change."""
    marks = [name for name in found if name.startswith(MARK)]
    numbers = [int(name[1:]) for name in marks if name[1:].isdigit()]
    return min((name for name in marks if not name[1:].isdigit()), default=""), max(numbers, default=0)


def _refused(detail: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer error="invalid_token"'}, kind="invalid-token"
    )
