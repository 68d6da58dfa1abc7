"""A show by hand, as a user runs it: open, simulate, result, close, final; and what is refused on the way."""

import json
from pathlib import Path

import pytest

from pipeline.archive.migrate import migrate
from pipeline.ledger.connection import connect
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from tests.workers import environment, folded, running

from .conftest import Airtally

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


async def test_a_show_by_hand(system: LocalStack, found: Settings, airtally: Airtally, tmp_path: Path) -> None:
    env = environment(found)

    def said(*arguments: str, status: int = 0) -> str:
        done = airtally(*arguments, env=env)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    assert "made, 4 partitions" in said("init")
    assert "is there, 4 partitions" in said("init")
    with running(system, found, "tally"):
        assert "open it by" in said("simulate", "gala", "best", status=1)
        said("poll", "open", "gala", "best", "--options", "ada=Ada L.,bo", "--votes-per-voter", "2")
        said(
            "poll", "open", "gala", "best", "--options", "ada=Ada L.,bo", "--votes-per-voter", "2"
        )  # repairs, harmless
        assert "other rules" in said("poll", "open", "gala", "best", "--options", "ada,cy", status=1)
        assert "not closed" in said("poll", "final", "gala", "best", status=1)
        said("simulate", "gala", "best", "--rate", "2000", "--duration", "3", "--voters", "900", "--expect", "e.json")
        said("poll", "close", "gala", "best", "--notice", "0.5")
        said("poll", "close", "gala", "best")  # the same instant again
        said("poll", "final", "gala", "best", "--grace", "0.6")
        assert "final already" in said("poll", "open", "gala", "best", "--options", "ada,bo", status=1)
        await folded(found)
        result = json.loads(said("result", "gala", "best", "--json"))
    expected = json.loads((tmp_path / "e.json").read_bytes())
    assert result["status"] == "final"
    assert {option: votes for option, votes in result["totals"].items() if votes} == expected["totals"]
    assert result["outcomes"] == {name: number for name, number in expected["poll_outcomes"].items() if number}
    assert result["seconds"] == expected["seconds"]
    assert all(each["next_offset"] == each["end_offset"] for each in result["partitions"])
    assert "Ada L." in said("result", "gala", "best")
    assert "no partition knows" in said("result", "gala", "worst", status=1)


async def test_doctor_says_what_is_wrong_and_what_to_do(found: Settings, airtally: Airtally) -> None:
    env = environment(found)
    before = {each["about"]: each for each in json.loads(airtally("doctor", "--json", env=env).stdout)}
    assert before["Redis"]["good"]
    assert not any("for a local" in about for about in before)  # where there is another one
    assert "airtally init" in before["topic"]["detail"]
    assert "airtally init" in before["ClickHouse"]["detail"]
    assert airtally("init", env=env).returncode == 0
    assert airtally("doctor", env=env).returncode == 0
    away = json.loads(airtally("doctor", "--json", env=environment(found.model_copy(update={"kafka": None}))).stdout)
    assert any("for a local Kafka" in each["about"] for each in away)


async def test_a_redis_that_evicts_stops_the_tally(topic: Settings, airtally: Airtally) -> None:
    client = connect(topic)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        said = airtally("tally", env={**environment(topic), "AIRTALLY_HEALTH_PORT": "0"})
    finally:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.aclose()
    assert said.returncode == 2
    assert "maxmemory-policy allkeys-lru" in said.stderr
    assert "CONFIG SET maxmemory-policy noeviction" in said.stderr


@pytest.mark.parametrize("command", [("tally",), ("result", "gala", "best"), ("simulate", "gala", "best")])
async def test_a_topic_with_other_partitions_stops_whoever_reads_or_sends(
    topic: Settings, airtally: Airtally, command: tuple[str, ...]
) -> None:
    env = {**environment(topic), "AIRTALLY_PARTITIONS": "3", "AIRTALLY_HEALTH_PORT": "0"}
    said = airtally(*command, env=env)
    assert said.returncode == 2
    assert "AIRTALLY_PARTITIONS=4" in said.stderr


async def test_tables_of_another_version_stop_the_archive(topic: Settings, airtally: Airtally) -> None:
    env = {**environment(topic), "AIRTALLY_HEALTH_PORT": "0"}
    assert "airtally init" in airtally("archive", env=env).stderr
    assert migrate(topic)
    from pipeline.archive.connection import connect as connect_clickhouse  # noqa: PLC0415

    client = connect_clickhouse(topic)
    client.command("INSERT INTO schema_migrations (number, name, checksum) VALUES (99, 'from_the_future', 'x')")
    client.close()
    said = airtally("archive", env=env)
    assert said.returncode == 2
    assert "schema version 99" in said.stderr
