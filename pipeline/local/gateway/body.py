"""A request's body, read by a worker thread while it arrives at the event loop, and decompressed."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from aiohttp import StreamReader

from pipeline.local.gateway.refusal import BAD_ARGUMENTS, TOO_LARGE, RefusalError, not_done

PIECE_BYTES = 1 << 20
MAX_COMPRESSED_BYTES = 256 << 20
# All of these read several frames one after the other: clients compress each block by itself.
_DECOMPRESS: dict[str, Callable[[bytes], Any]] = {
    "lz4": cramjam.lz4.decompress,
    "zstd": cramjam.zstd.decompress,
    "gzip": cramjam.gzip.decompress,
    "deflate": cramjam.zlib.decompress,  # HTTP means zlib's format by it
    "br": cramjam.brotli.decompress,
}


class ClientGoneError(Exception):
    """The body ended before it was complete: whoever sent it is gone."""


class Body:
    """Bytes of a request, for one worker thread."""

    def __init__(self, content: StreamReader, encoding: str, loop: asyncio.AbstractEventLoop) -> None:
        """Read from ``content``, which belongs to ``loop``.

        Raises:
            RefusalError: an unknown Content-Encoding.
        """
        if encoding not in ("", "identity", *_DECOMPRESS):
            raise not_done(f"Content-Encoding {encoding!r}, only {', '.join(_DECOMPRESS)}")
        self._content, self._loop = content, loop
        self._decompress = _DECOMPRESS.get(encoding)
        self._back = b""

    def pieces(self) -> Iterator[bytes]:
        """What has not been read yet, as it comes in.

        Raises:
            ClientGoneError: the client went away before it had sent everything.
            RefusalError: the body cannot be decompressed.
        """
        if self._back:
            back, self._back = self._back, b""
            yield back
        if self._decompress is None:
            while piece := self._receive():
                yield piece
        elif piece := self._decompressed():
            yield piece

    def head(self, limit: int) -> bytes:
        """At least the first ``limit`` bytes, if there are that many; ``pieces`` gives them again."""
        collected = bytearray()
        for piece in self.pieces():
            collected += piece
            if len(collected) >= limit:
                break
        self._back = bytes(collected)
        return self._back

    def skip(self, count: int) -> None:
        """Drop ``count`` bytes of what ``head`` has returned."""
        self._back = self._back[count:]

    def rest(self, limit: int) -> bytes:
        """Everything that has not been read yet.

        Raises:
            RefusalError: it is more than ``limit`` bytes.
        """
        collected = bytearray()
        for piece in self.pieces():
            collected += piece
            if len(collected) > limit:
                raise RefusalError(TOO_LARGE, f"The query is longer than {limit} bytes. (QUERY_IS_TOO_LARGE)")
        return bytes(collected)

    def _receive(self) -> bytes:
        try:
            return asyncio.run_coroutine_threadsafe(self._content.read(PIECE_BYTES), self._loop).result()
        except Exception as error:  # whatever the connection died of, the body is not complete
            raise ClientGoneError(str(error)) from error

    def _decompressed(self) -> bytes:
        received = bytearray()
        while piece := self._receive():
            received += piece
            if len(received) > MAX_COMPRESSED_BYTES:
                raise RefusalError(
                    TOO_LARGE, f"A compressed body may have {MAX_COMPRESSED_BYTES} bytes. (QUERY_IS_TOO_LARGE)"
                )
        if not received or self._decompress is None:
            return bytes(received)
        try:
            return bytes(self._decompress(bytes(received)))
        except cramjam.DecompressionError as error:
            raise RefusalError(BAD_ARGUMENTS, f"The body cannot be decompressed: {error}. (BAD_ARGUMENTS)") from error
