"""A show whose votes come from real viewers through an edge, over HTTP and WebSocket, who try again as good clients do.

Nobody can plan the bytes of such a show: the edge stamps each vote, and makes the voter's pseudonym. So the truth is kept by
vote id: what each viewer chose, and who was told that the vote is safe.
"""

import asyncio
import uuid
from dataclasses import dataclass, field

import aiohttp

from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import Marker
from pipeline.errors import PublishError
from pipeline.load.crowd import Crowd
from pipeline.load.oracle import Oracle
from pipeline.load.plan import Plan, Shot
from pipeline.local.ports import LOOPBACK, free_port
from pipeline.log.publisher import Publisher
from pipeline.show.script import Script
from tests.faults.edge_oracle import edge_truth
from tests.faults.oracle import Log, Truth
from tests.faults.verdict import WrongError

PER_S, SECONDS = 500, 6  # votes over HTTP, and as many over WebSocket
CONNECTIONS = 100  # of each kind
TIMEOUT_S = 8.0  # far more than the edge may take for an answer, and less than Kafka is away
PATIENCE_S = 90.0
KNOWN_S = 60.0  # until the edge knows the poll
AGAIN_S = 0.2

EDGE = {
    "AIRTALLY_EDGE_SECRET": "a secret of the campaign, long enough for one",
    "AIRTALLY_EDGE_SHARE_PORT": "true",
    "AIRTALLY_EDGE_IN_FLIGHT": "500",  # less than comes in a second: it has to refuse some when Kafka is away
    "AIRTALLY_EDGE_ANSWER_S": "1",
    "AIRTALLY_EDGE_DRAIN_S": "5",
    "AIRTALLY_EDGE_ADDRESS_PER_S": "1000000",  # all viewers of a trial have one
    "AIRTALLY_EDGE_ADDRESS_BURST": "1000000",
}

_RETRYABLE = {"202", "429", "503", "no answer", "no connection"}


@dataclass
class Diary(Oracle):
    """The answers to viewers, by vote id: this campaign's journal of acknowledgements."""

    chosen: dict[str, str] = field(default_factory=dict)  # vote id -> option, of all votes that were sent
    safe: set[str] = field(default_factory=set)  # those that were answered 202

    def acknowledged(self, shot: Shot, now: float) -> None:
        """Note that a viewer was told that the vote is safe."""
        super().acknowledged(shot, now)
        self.chosen[shot.vote_id] = shot.option
        self.safe.add(shot.vote_id)

    def given_up(self, shot: Shot) -> None:
        """Note that a viewer was not."""
        super().given_up(shot)
        self.chosen[shot.vote_id] = shot.option


class EdgeBroadcast:
    """A show at an edge. Whoever sets the scene runs that, with `edge_environment`; a second one may share its port."""

    def __init__(self, script: Script, seed: int, publisher: Publisher) -> None:
        self.script, self.seed, self._publisher = script, seed, publisher
        self.diary = Diary()
        self._port = free_port()
        poll_id = PollId(script.show_id, script.poll_id)
        self._url = f"http://{LOOPBACK}:{self._port}"
        self._path = f"/v1/shows/{poll_id.show_id}/polls/{poll_id.poll_id}/votes"
        self._crowds = [
            Crowd(
                Plan(
                    self._url,
                    poll_id,
                    [each.option_id for each in script.options],
                    PER_S,
                    SECONDS,
                    CONNECTIONS,
                    is_socket=is_socket,
                    timeout_s=TIMEOUT_S,
                    tries=50,
                    patience_s=PATIENCE_S,
                    seed=2 * seed + is_socket,
                )
            )
            for is_socket in (False, True)
        ]
        for crowd in self._crowds:
            crowd.oracle = self.diary

    @property
    def edge_environment(self) -> dict[str, str]:
        """What an edge of this show finds in its environment."""
        return {**EDGE, "AIRTALLY_EDGE_PORT": str(self._port)}

    @property
    def progress(self) -> float:
        """How much of the show is over, 0 to 1."""
        return sum(crowd.fired for crowd in self._crowds) / sum(crowd.plan.shots for crowd in self._crowds)

    @property
    def refusals(self) -> int:
        """How often a viewer was told to come again later."""
        return self.diary.answers["503"]

    async def play(self) -> None:
        """Open the poll, let all viewers vote until each was answered, and end it."""
        await self._until_acknowledged(self.script.opened(now_ms()))
        await self._known()
        try:
            await self._crowds[1].connect()
            await asyncio.gather(*(crowd.play() for crowd in self._crowds))
        finally:
            for crowd in self._crowds:
                await crowd.close()
        await self._until_acknowledged(self.script.closed(now_ms()))
        await self._until_acknowledged(self.script.final())

    async def ask(self) -> tuple[int, str]:
        """Vote once, as one viewer more; give status and `Retry-After`.

        Raises:
            WrongError: there is no answer in bounded time.
        """
        vote_id, option = str(uuid.uuid4()), self.script.options[0].option_id
        self.diary.chosen[vote_id] = option
        status, retry_after = await self._post(vote_id, option)
        if status == 202:
            self.diary.safe.add(vote_id)
        return status, retry_after

    def truth(self, log: Log) -> Truth:
        """Tell what must be counted, and what viewers were told that they must not be."""
        true = edge_truth(self.script, self.diary.chosen, self.diary.safe, log)
        for answer, times in self.diary.answers.items():
            if answer not in _RETRYABLE:
                true.lines.append(f"edge: {times} answers were {answer}, to good votes")
        given_up = self.diary.undecided.total() + self.diary.refused.total()
        if given_up:
            true.doubts.append(
                f"{given_up} viewers gave up after {PATIENCE_S:.0f} s: is this machine too slow for them?"
            )
        return true

    async def _post(self, vote_id: str, option: str) -> tuple[int, str]:
        ballot = {"vote_id": vote_id, "option_id": option, "voter": vote_id}
        try:
            async with (
                aiohttp.ClientSession(self._url, timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session,
                session.post(self._path, json=ballot) as answer,
            ):
                return answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError as error:
            raise WrongError(f"the edge has not answered for {TIMEOUT_S:.0f} s") from error

    async def _known(self) -> None:
        """Wait until the edge knows the poll: it then refuses what is none of its options."""
        async with asyncio.timeout(KNOWN_S):
            while (await self._post(str(uuid.uuid4()), "nobody"))[0] != 422:
                await asyncio.sleep(AGAIN_S)

    async def _until_acknowledged(self, marker: Marker) -> None:
        async with asyncio.timeout(KNOWN_S):
            while True:
                try:
                    await self._publisher.publish_marker(marker)
                except PublishError:
                    await asyncio.sleep(AGAIN_S)
                else:
                    return
