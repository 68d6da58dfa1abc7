"""Voters' pseudonyms: HMAC-SHA256 (RFC 2104) under a key of the show.

The same person has the same pseudonym within a show, which is what counting needs, and unrelated ones in two shows. Whoever
has the log but not the secret can neither name a voter nor test a guess.
"""

import base64
import hashlib
import hmac

from pipeline.errors import SettingError
from pipeline.settings import Settings

MIN_SECRET = 32  # characters
CODE_BYTES = 16  # of an HMAC's 32: RFC 2104 asks for half at least. In 22 characters, which the ledger packs
_PURPOSE = b"airtally voter pseudonym 1\x00"
_BLOCK = 64  # bytes of SHA-256's


class Pseudonyms:
    """Makes pseudonyms under a root secret. All edges of a show need the same one, and keep it while its log is counted."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._codes: dict[str, _Code] = {}  # by show

    @classmethod
    def from_settings(cls, settings: Settings) -> "Pseudonyms":
        """Take the root secret of the settings.

        Raises:
            SettingError: there is none, or it is too short to be one.
        """
        secret = settings.edge_secret.get_secret_value() if settings.edge_secret else ""
        if len(secret) < MIN_SECRET:
            raise SettingError(
                f"AIRTALLY_EDGE_SECRET {'is too short' if secret else 'is not set'}: give at least {MIN_SECRET} random "
                "characters (openssl rand -hex 32), the same at all edges, or start an edge of your own by `airtally up`"
            )
        return cls(secret)

    def of(self, show_id: str, voter: str) -> str:
        """Give a voter's pseudonym in a show: 22 characters of base64url."""
        code = self._codes.get(show_id)
        if code is None:
            if len(self._codes) >= 1000:
                self._codes.clear()
            # HKDF-Expand (RFC 5869) of one block: the secret is random, so there is nothing to extract.
            key = hmac.digest(self._secret, _PURPOSE + show_id.encode() + b"\x01", "sha256")
            code = self._codes[show_id] = _Code(key)
        return base64.urlsafe_b64encode(code.of(voter.encode())[:CODE_BYTES])[:-2].decode()


class _Code:
    """HMAC-SHA256 under a key of one block at most, which is hashed once and not for each message: half of the work."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def of(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()
