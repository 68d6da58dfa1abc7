"""Voters' pseudonyms: HMAC-SHA256 (RFC 2104) under a key of the show.

The same person has the same pseudonym within a show, which is what counting needs, and unrelated ones in two shows. Whoever
has the log but not the secret can neither name a voter nor test a guess.
"""

import binascii
import hashlib
import hmac
from collections.abc import Sequence

from pipeline.errors import SettingError
from pipeline.settings import Settings

MIN_SECRET = 32  # characters
CODE_BYTES = 16  # of an HMAC's 32: RFC 2104 asks for half at least. In 22 characters, which the ledger packs
MOST_SHOWS = 1000  # whose keys are at hand
_PURPOSE = b"airtally voter pseudonym 1\x00"
_BLOCK = 64  # bytes of SHA-256's
_URL_SAFE = bytes.maketrans(b"+/", b"-_")  # RFC 4648, 5


class Pseudonyms:
    """Makes pseudonyms under a root secret. All edges of a show need the same one, and keep it while its log is counted."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._states: dict[str, tuple[hashlib._Hash, hashlib._Hash]] = {}  # by show

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

    def of_all(self, show_id: str, voters: Sequence[str]) -> list[str]:
        """Give voters' pseudonyms in a show: 22 characters of base64url each."""
        inner, outer = self._keyed(show_id)
        codes = []
        for voter in voters:
            first, second = inner.copy(), outer.copy()
            first.update(voter.encode())
            second.update(first.digest())
            codes.append(second.digest()[:CODE_BYTES])
        # All are written in one call: base64 has 4 characters for 3 bytes, and the last 2 of 24 are those of the blanks.
        text = binascii.b2a_base64(b"\0\0".join([*codes, b""]), newline=False).translate(_URL_SAFE).decode()
        return [text[start : start + 22] for start in range(0, 24 * len(codes), 24)]

    def _keyed(self, show_id: str) -> tuple["hashlib._Hash", "hashlib._Hash"]:
        """Give HMAC-SHA256 as it stands after its show's key, inside and outside: half of the work for each message."""
        states = self._states.get(show_id)
        if states is None:
            if len(self._states) >= MOST_SHOWS:
                self._states.clear()
            # HKDF-Expand (RFC 5869) of one block: the secret is random, so there is nothing to extract.
            key = hmac.digest(self._secret, _PURPOSE + show_id.encode() + b"\x01", "sha256").ljust(_BLOCK, b"\0")
            states = self._states[show_id] = (
                hashlib.sha256(bytes(byte ^ 0x36 for byte in key)),
                hashlib.sha256(bytes(byte ^ 0x5C for byte in key)),
            )
        return states
