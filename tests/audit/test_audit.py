"""Three witnesses of a real show: they agree, and whoever lies is named, with partition, offsets and outcome."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient

from pipeline.archive.connection import connect as connect_clickhouse
from pipeline.archive.migrate import migrate
from pipeline.cli.auditing import run_audit
from pipeline.clock import now_ms
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote, VotesVoided, encode
from pipeline.ledger.connection import connect
from pipeline.ledger.keys import Keys
from pipeline.ledger.reader import open_ledgers
from pipeline.local.stack import LocalStack
from pipeline.log.offsets import LogOffsets
from pipeline.log.publisher import Publisher
from pipeline.settings import Settings
from pipeline.show.expectation import Expectation
from pipeline.show.player import Player
from pipeline.show.script import default_script
from tests.cli.conftest import Airtally, Begun
from tests.workers import environment, eventually, folded, running

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

POLL = PollId("finale", "song")
LATE_VOTE = "00000000-0000-4000-8000-00000000000b"
SCRIPT = default_script(records=4_000, seconds=4, show_id=POLL.show_id, poll_id=POLL.poll_id)


async def test_an_audit_in_the_middle_of_a_show_and_after_it(
    system: LocalStack, topic: Settings, airtally: Airtally, tmp_path: Path
) -> None:
    migrate(topic)
    with running(system, topic, "tally"), running(system, topic, "archive"):
        async with Publisher(topic) as publisher:
            player = Player(SCRIPT, 5, publisher)
            playing = asyncio.create_task(player.play())
            await eventually(lambda: _has_sent(player, SCRIPT.records // 3), "a third of the show")
            during = await run_audit(topic, POLL, 30)
            expected = await playing
        assert during.agrees, list(map(str, during.differences))
        assert not during.is_final
        assert 0 < sum(during.counted.values()) < expected.counted
        await folded(topic)
        env = environment(topic)
        done = await asyncio.to_thread(airtally, "audit", *POLL, "--json", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert said["final"]
        assert said["official"] == said["counted"] == _totals(expected)
        await _voids(topic, airtally, env, _totals(expected))
        await _certificate(topic, airtally, env, tmp_path)
        await _fewer_partitions(airtally, env)
        again = await asyncio.to_thread(airtally, "rebuild", "--partition", "0", "--partition", "3", env=env)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "2 ledgers counted again" in again.stdout
    again = await asyncio.to_thread(airtally, "rebuild", "--from", "clickhouse", env=env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (await run_audit(topic, POLL, 30)).agrees
    await _shortened(topic, airtally, env)
    await _liars(topic)
    await _after_retention(topic, airtally, env)


async def _fewer_partitions(airtally: Airtally, env: dict[str, str]) -> None:
    """A machine that knows of two partitions of four would audit half of the votes, and open half of a poll."""
    for arguments in (("audit", *POLL), ("poll", "open", "finale", "dance", "--options", "ada,bo"), ("rebuild",)):
        done = await asyncio.to_thread(airtally, *arguments, env={**env, "AIRTALLY_PARTITIONS": "2"})
        assert done.returncode != 0
        assert "it has 4 partitions, AIRTALLY_PARTITIONS is 2" in done.stderr, done.stdout + done.stderr


async def _shortened(topic: Settings, airtally: Airtally, env: dict[str, str]) -> None:
    """On records that Kafka has not any more it does not agree with anybody: it says nothing, and nothing is certified."""
    whole = await run_audit(topic, POLL, 30)
    of_first, recount = whole.ledgers[0].next_offset, whole.archive[0].poll
    assert (whole.in_log, whole.shortened) == (whole.records, [])
    assert recount is not None
    opened = recount.opened_offset
    if opened:
        await _deleted(topic, 0, opened)
        done = await run_audit(topic, POLL, 30)
        assert (done.in_log, done.shortened) == (whole.records - opened, [])
    for before, gone in ((opened + 1, opened + 1), (confluent_kafka.OFFSET_END, of_first)):
        await _deleted(topic, 0, before)
        done = await run_audit(topic, POLL, 30)
        assert done.agrees, list(map(str, done.differences))
        assert (done.in_log, done.shortened) == (whole.records - gone, [0])
        said = await asyncio.to_thread(airtally, "audit", *POLL, env=env)
        assert said.returncode == 0, said.stdout + said.stderr
        assert (
            f"AGREE: Redis and ClickHouse, on each of {done.records:,} records; Kafka, on the {done.in_log:,}"
            in said.stdout
        )
        assert f"the same, of {of_first - gone:,} in Kafka" in said.stdout
        refused = await asyncio.to_thread(airtally, "certify", *POLL, "--key", "key.pem", "--out", "none.json", env=env)
        assert refused.returncode == 1
        assert (
            f"Kafka has {done.in_log:,} of {done.records:,} records, and of partitions [0] not all since"
            in refused.stderr
        )


async def _deleted(topic: Settings, partition: int, before: int) -> None:
    """Do to a partition what retention does."""
    admin = AdminClient({"bootstrap.servers": topic.kafka or ""})
    gone = admin.delete_records([confluent_kafka.TopicPartition(topic.topic, partition, before)])
    await asyncio.to_thread(next(iter(gone.values())).result, 20)


async def _after_retention(topic: Settings, airtally: Airtally, env: dict[str, str]) -> None:
    """What is not in the log any more cannot be counted again from there."""
    await _deleted(topic, 0, 5)
    async with open_ledgers(topic) as ledgers:
        before = await ledgers.heads()
        done = await asyncio.to_thread(airtally, "rebuild", "--partition", "0", env=env)
        assert done.returncode == 1
        assert "nothing was thrown away" in done.stderr
        assert await ledgers.heads() == before
        # Nor from an archive that has not come as far as the ledger.
        client = connect_clickhouse(topic)
        client.command(
            f"ALTER TABLE votes_log DELETE WHERE partition = 1 AND offset = {before[1].next_offset - 1}",
            settings={"mutations_sync": 1},
        )
        client.close()
        done = await asyncio.to_thread(airtally, "rebuild", "--partition", "1", "--from", "clickhouse", env=env)
        assert done.returncode == 1
        assert "nothing was thrown away" in done.stderr
        assert await ledgers.heads() == before


async def _voids(topic: Settings, airtally: Airtally, env: dict[str, str], counted: dict[str, int]) -> None:
    async def poll(*arguments: str, status: int = 0) -> str:
        done = await asyncio.to_thread(airtally, "poll", *arguments, env=env)
        assert done.returncode == status, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    words = ("--reason", "its token was published", "--author", "A. Lovelace")
    await poll("void", *POLL, "leak", "--channel", "app", *words)
    await poll("void", *POLL, "leak", "--channel", "app", *words)  # repairs, harmless
    assert "decided already" in await poll("void", *POLL, "leak", "--channel", "web", *words, status=1)
    assert "no condition" in await poll("void", *POLL, "all", *words, status=2)
    assert "no void" in await poll("reinstate", *POLL, "other", *words, status=1)
    struck = await run_audit(topic, POLL, 30)
    assert struck.agrees, list(map(str, struck.differences))
    assert struck.counted == counted
    by_app = _asked(
        topic,
        "SELECT count() FROM vote_outcomes WHERE topic = {t:String} AND outcome = 'counted' AND channel = 'app'",
    )
    assert sum(struck.struck.values()) == by_app > 0
    assert {option: struck.official[option] + struck.struck[option] for option in counted} == counted
    await poll("reinstate", *POLL, "leak", *words)
    assert "for good" in await poll("void", *POLL, "leak", "--channel", "app", *words, status=1)
    assert (await run_audit(topic, POLL, 30)).official == counted


async def _certificate(topic: Settings, airtally: Airtally, env: dict[str, str], folder: Path) -> None:
    async def said(*arguments: str, status: int = 0, topic_of_shell: str = topic.topic) -> str:
        done = await asyncio.to_thread(airtally, *arguments, env={**env, "AIRTALLY_TOPIC": topic_of_shell})
        assert done.returncode == status, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    public = (await said("keygen", "key.pem")).split()[-1]
    assert "never overwritten" in await said("keygen", "key.pem", status=2)
    for nowhere in ("none/such.json", "."):
        assert "--out" in await said("certify", *POLL, "--key", "key.pem", "--out", nowhere, "--wait", "0", status=2)
    assert "certified" in await said("certify", *POLL, "--key", "key.pem")
    file = f"{POLL.show_id}-{POLL.poll_id}.certificate.json"
    for source in ("clickhouse", "kafka"):
        assert "HOLDS" in await said("verify", file, "--public-key", public, "--against", source)
        assert "HOLDS" in await said("verify", file, "--against", source, topic_of_shell="another")
    certificate = json.loads((folder / file).read_bytes())
    assert [void["decision"]["void_id"] for void in certificate["statement"]["voids"]] == ["leak"]

    vote_id = str(_asked(topic, "SELECT vote_id FROM vote_outcomes WHERE topic = {t:String} AND outcome = 'duplicate'"))
    outcomes = await said("prove", *POLL, vote_id, "--certificate", file, topic_of_shell="another")
    assert ": counted" in outcomes
    assert ": duplicate" in outcomes
    assert vote_id in (await said("verify", file, "--proof", f"{vote_id}.proof.json")).lower()
    proof = (folder / f"{vote_id}.proof.json").read_text()
    (folder / "forged.json").write_text(proof.replace('"append_time": 1', '"append_time": 2'))
    assert "not among those" in await said("verify", file, "--proof", "forged.json", status=1)
    assert "no record" in await said("prove", *POLL, str(uuid.uuid4()), "--certificate", file, status=1)
    offset = await _late_vote(topic, certificate["statement"]["partitions"][2]["next"])
    text = await said("prove", *POLL, LATE_VOTE, "--certificate", file, status=1)
    assert f"offset {offset} of partition 2 came after it" in text


async def _late_vote(topic: Settings, certified: int) -> int:
    """Send a vote that comes into the log when all is certified; give its offset."""
    vote = Vote(LATE_VOTE, *POLL, SCRIPT.options[0].option_id, "late", now_ms(), "edge-1", "app")
    async with Publisher(topic, linger_ms=0) as publisher:
        sent = await publisher._producer.send_and_wait(topic.topic, encode(vote), key=b"late", partition=2)
    await folded(topic)
    assert (await run_audit(topic, POLL, 30)).agrees
    assert sent.offset >= certified
    return int(sent.offset)


async def _liars(topic: Settings) -> None:
    """Each of these must be noticed, and named."""
    client = connect(topic)
    keys = Keys(topic.topic, 1)

    async def said() -> str:
        done = await run_audit(topic, POLL, 30)
        assert not done.agrees
        return "\n".join(map(str, done.differences))

    await client.hincrby(keys.poll(POLL), "total:ada", 1)
    await client.hincrby(keys.head, "outcome:late", 2)
    text = await said()
    assert "partition 1: option ada" in text
    assert "partition 1: outcome late" in text
    assert "add up" in text
    await client.hincrby(keys.poll(POLL), "total:ada", -1)
    await client.hincrby(keys.head, "outcome:late", -2)
    await client.aclose()

    _command(topic, "ALTER TABLE votes_log DELETE WHERE topic = {t:String} AND partition = 2 AND offset IN (7, 8, 11)")
    _command(
        topic,
        "ALTER TABLE votes_log UPDATE value = concat(assumeNotNull(value), ' ') "
        "WHERE topic = {t:String} AND partition = 3 AND offset = 5",
    )
    text = await said()
    assert "missing: 7 to 8, 11 to 11" in text
    assert "partition 3: the bytes of offsets" in text
    assert "partition 1" not in text


async def test_two_decisions_by_one_name_are_named_and_can_be_taken_back(
    system: LocalStack, topic: Settings, airtally: Airtally, airtally_begun: Begun
) -> None:
    """Two senders at once: neither can know of the other before the tally has folded what they sent."""
    migrate(topic)
    env = environment(topic)
    words = ("--reason", "its token was published", "--author", "A. Lovelace")
    async with Publisher(topic, linger_ms=0) as publisher, LogOffsets(topic) as offsets:
        with running(system, topic, "tally"):
            await publisher.publish_marker(SCRIPT.opened(now_ms()))
            await folded(topic)
        other = VotesVoided(*POLL, "leak", "as decided", "Bo", edge_ids=("edge-2",))
        await publisher._producer.send_and_wait(topic.topic, encode(other), key=b"finale/song", partition=2)
        sending = airtally_begun("poll", "void", *POLL, "leak", "--edge", "edge-1", *words, env=env)
        await eventually(lambda: _has_ends(offsets, [2, 2, 3, 2]), "both sent")
    with running(system, topic, "tally"), running(system, topic, "archive"):
        _, said = await asyncio.to_thread(sending.communicate, timeout=60)
        assert sending.returncode == 1, said
        assert "partitions [2] have void leak with other words or conditions" in said
        await folded(topic)
        again = await asyncio.to_thread(airtally, "poll", "void", *POLL, "leak", "--edge", "edge-1", *words, env=env)
        assert "decided already" in again.stderr
        done = await run_audit(topic, POLL, 30)
        (difference,) = done.differences
        assert "void leak is another decision in partitions [2]" in str(difference)
        back = await asyncio.to_thread(airtally, "poll", "reinstate", *POLL, "leak", *words, env=env)
        assert back.returncode == 0, back.stderr
        done = await run_audit(topic, POLL, 30)
    assert done.agrees, list(map(str, done.differences))
    assert list(done.voids.values()) == [[0, 1, 3], [2]]


async def test_a_publisher_with_another_partitioner_is_caught(system: LocalStack, topic: Settings) -> None:
    migrate(topic)
    with running(system, topic, "tally"), running(system, topic, "archive"):
        async with Publisher(topic) as publisher:
            opened = SCRIPT.opened(now_ms())
            await publisher.publish_marker(opened)
            vote_id = "00000000-0000-4000-8000-00000000000a"
            for partition, voter in ((0, "ann"), (1, "ann"), (2, "bo"), (3, "cy")):
                number = vote_id if voter in {"bo", "cy"} else vote_id[:-1] + str(partition)
                vote = Vote(number, *POLL, opened.options[0].id, voter, now_ms(), "edge-1", "app")
                await publisher._producer.send_and_wait(
                    topic.topic, encode(vote), key=voter.encode(), partition=partition
                )
        await folded(topic)
        done = await run_audit(topic, POLL, 30)
    said = {(stray.what, stray.name, stray.counted, *stray.partitions) for stray in done.strays}
    limit = opened.votes_per_voter
    assert ("vote", vote_id, 2, 2, 3) in said
    assert (("voter", "ann", 2, 0, 1) in said) == (limit < 2)
    assert not done.agrees


async def _has_ends(offsets: LogOffsets, ends: list[int]) -> bool:
    return [end for _, end in sorted((await offsets.end()).items())] == ends


async def _has_sent(player: Player, records: int) -> bool:
    return player.progress.sent >= records


def _totals(expected: Expectation) -> dict[str, int]:
    return {option.option_id: expected.expected_total(option.option_id) for option in SCRIPT.options}


def _asked(topic: Settings, sql: str) -> Any:
    client = connect_clickhouse(topic)
    try:
        return client.query(sql, parameters={"t": topic.topic}).first_row[0]
    finally:
        client.close()


def _command(topic: Settings, sql: str) -> None:
    client = connect_clickhouse(topic)
    try:
        client.command(sql, parameters={"t": topic.topic}, settings={"mutations_sync": 1})
    finally:
        client.close()
