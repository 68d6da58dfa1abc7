"""The display in Redis: shows versions by one script that never lets an older one replace a newer one."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis

from pipeline.domain.poll import PollId
from pipeline.errors import RedisMismatchError
from pipeline.ledger.connection import unavailable_if_down
from pipeline.live.keys import PREFIX, fields, live_key, offsets_text, parse_live_key
from pipeline.live.snapshot import FORMAT, Snapshot, decode, encode_tail, with_version

_SHOW = (files("pipeline.live") / "show.lua").read_text("utf-8")


@dataclass(frozen=True)
class Shown:
    """A version, and its bytes: encoded once, for Redis and for every reader."""

    snapshot: Snapshot
    encoded: bytes

    @property
    def version(self) -> int:
        """Its place among the poll's versions."""
        return self.snapshot.version


class Display:
    """What is on the air of a topic's polls. Each call raises ``UnavailableError`` while Redis is away."""

    def __init__(self, client: Redis, topic: str, partitions: int) -> None:
        self._client = client
        self._topic, self._partitions = topic, partitions
        self._show = client.register_script(_SHOW)

    async def known(self) -> list[PollId]:
        """Name the polls that are on the display, of any topic."""
        with unavailable_if_down():
            keys = [key async for key in self._client.scan_iter(match=f"{PREFIX}:*", count=1000)]
        return [poll_id for key in keys if (poll_id := parse_live_key(key.decode(errors="replace"))) is not None]

    async def load(self, poll_id: PollId) -> tuple[Shown | None, bytes | None]:
        """Read what is shown of a poll, and its encoded series; None: nothing.

        Raises:
            RedisMismatchError: something is at its key that is not of this topic and format.
        """
        with unavailable_if_down():
            if await self._client.type(live_key(poll_id)) not in (b"hash", b"none"):
                raise _foreign(poll_id, "")
            stored: list[Any] = await self._client.hmget(live_key(poll_id), ["format", "topic", "json", "seconds"])
        if stored[2] is None:
            return None, None
        if stored[:2] != [str(FORMAT).encode(), self._topic.encode()]:
            raise _foreign(poll_id, (stored[1] or b"").decode(errors="replace"))
        shown = _shown(poll_id, stored[2])
        if len(shown.snapshot.next_offsets) != self._partitions:
            raise _foreign(poll_id, f"of {len(shown.snapshot.next_offsets)} partitions")
        return shown, stored[3]

    async def missing(self, poll_ids: list[PollId]) -> list[PollId]:
        """Name those polls that are not on the display (any more)."""
        with unavailable_if_down():
            async with self._client.pipeline(transaction=False) as pipe:
                for poll_id in poll_ids:
                    pipe.exists(live_key(poll_id))
                answers = await pipe.execute()
        return [poll_id for poll_id, there in zip(poll_ids, answers, strict=True) if not there]

    async def show(self, wanted: Snapshot, series: bytes | None, least_version: int) -> tuple[Shown, bool]:
        """Show a snapshot unless what is shown is as new; give what is shown now, and whether it is this snapshot.

        Args:
            wanted: what to show; its version is decided here.
            series: the encoded series of complete seconds; None: as it is.
            least_version: the time (ms), from which the version is made, or more.

        Raises:
            RedisMismatchError: something is at the poll's key that is not of this topic and format.
        """
        tail = encode_tail(wanted)
        arguments: list[str | int | bytes] = [
            FORMAT,
            self._topic,
            offsets_text(wanted),
            wanted.complete_to,
            wanted.second,
            wanted.as_of,
            wanted.status,
            "" if wanted.lag is None else wanted.lag,
            least_version,
            tail,
            *fields(wanted),
        ]
        if series is not None:
            arguments += ["seconds", series]
        with unavailable_if_down():
            answer, version, detail = await self._show(keys=[live_key(wanted.id)], args=arguments)
        if answer == b"foreign":
            raise _foreign(wanted.id, detail.decode(errors="replace"))
        if answer == b"shown":
            return Shown(msgspec.structs.replace(wanted, version=version), with_version(tail, version)), True
        return _shown(wanted.id, detail), False


def _shown(poll_id: PollId, encoded: bytes) -> Shown:
    try:
        return Shown(decode(encoded), encoded)
    except msgspec.DecodeError as error:
        raise _foreign(poll_id, str(error)) from error


def _foreign(poll_id: PollId, what: str) -> RedisMismatchError:
    return RedisMismatchError(
        f"{live_key(poll_id)} holds something else than the display of this topic ({what or 'unknown'}): stop whoever "
        "writes it, then delete the key"
    )
