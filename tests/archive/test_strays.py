"""Who voted in several partitions is found behind however many others who did no harm by it."""

import uuid

import pytest

from pipeline.archive import strays
from pipeline.archive.flush import Flush
from pipeline.archive.migrate import migrate
from pipeline.archive.store import ArchiveStore
from pipeline.archive.strays import CountedTooOften, voters_in_several_partitions
from pipeline.domain.batch import RecordBatch
from pipeline.domain.poll import PollId
from pipeline.domain.record import Marker, Option, PollOpened, Vote, encode
from pipeline.settings import Settings

pytestmark = pytest.mark.real

OPENED_AT = 1_767_297_600_000
POLL = PollId("finale", "song")
ALLOWED = 2
HARMLESS = [f"ann-{number:05}" for number in range(1_500)]  # they sort before the others

Ballot = tuple[str, str, str]  # poll, voter, option


def log_of(topic: str, partition: int, ballots: list[Ballot]) -> RecordBatch:
    rules: list[Marker] = [
        PollOpened(POLL.show_id, poll, OPENED_AT, (Option("ada"),), votes_per_voter=ALLOWED)
        for poll in ("song", "dance")
    ]
    votes = [
        Vote(str(uuid.uuid4()), POLL.show_id, poll, option, voter, OPENED_AT + 1, "edge-1", "app")
        for poll, voter, option in ballots
    ]
    keys = [b"finale/song", b"finale/dance", *(vote.voter_id.encode() for vote in votes)]
    values = [encode(record) for record in (*rules, *votes)]
    return RecordBatch.of(topic, partition, 0, [OPENED_AT + 2] * len(keys), keys, values, [()] * len(keys))


async def found_in(found: Settings, *ballots: list[Ballot]) -> list[CountedTooOften]:
    """Store a partition of each, and ask."""
    migrate(found)
    batches = [log_of(found.topic, partition, each) for partition, each in enumerate(ballots)]
    store = ArchiveStore(found)
    await store.insert(Flush(batches))
    await store.close()
    before = {batch.partition: batch.next_offset for batch in batches}
    return await voters_in_several_partitions(found, POLL, before, ALLOWED)


def votes(voters: list[str], poll: str = "song", option: str = "ada") -> list[Ballot]:
    return [(poll, voter, option) for voter in voters]


async def test_a_stray_is_found_behind_voters_of_another_poll(found: Settings) -> None:
    elsewhere = votes(HARMLESS, "dance") * 2
    strays_found = await found_in(found, elsewhere, elsewhere, votes(["zoe", "zoe", "yan"]), votes(["zoe", "yan"]))
    assert strays_found == [CountedTooOften("voter", "zoe", 3, ALLOWED, (2, 3))]


async def test_a_stray_is_found_behind_voters_who_have_not_too_many_counted(found: Settings) -> None:
    """They sent three votes, but one of them is for no option: only a recount tells."""
    sent = [*votes(HARMLESS), *votes(HARMLESS, option="none")]
    assert await found_in(found, [*sent, *votes(["zoe"])], [*votes(HARMLESS), *votes(["zoe", "zoe"])]) == [
        CountedTooOften("voter", "zoe", 3, ALLOWED, (0, 1))
    ]


async def test_when_very_many_are_found_the_first_are_named(found: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MOST", 20)
    voters = HARMLESS[:50]
    named = [each.name for each in await found_in(found, votes(voters) * 2, votes(voters))]
    assert named == HARMLESS[:20]


def test_what_is_recounted_is_asked_of_some_partitions_at_a_time() -> None:
    """Without that condition ClickHouse would sort the whole topic at once."""
    assert "FROM vote_outcomes" in strays._COUNTED
    assert "partition IN {partitions:Array(UInt32)}" in strays._COUNTED
