"""The command as people meet it: help that teaches, and errors that name value and remedy. No server is needed here."""

import pytest

from .conftest import Airtally

COMMANDS = [
    *("up", "down", "status", "init", "tally", "archive", "live", "edge"),
    *("plan", "simulate", "load", "result", "doctor", "demo"),
]


def test_help_names_every_command(airtally: Airtally) -> None:
    said = airtally("--help")
    assert said.returncode == 0
    assert all(f" {name} " in said.stdout for name in (*COMMANDS, "poll", "edge-token"))


@pytest.mark.parametrize(
    "name", [*COMMANDS, "poll open", "poll close", "poll final", "edge-token mint", "edge-token revoke"]
)
def test_each_command_explains_itself(airtally: Airtally, name: str) -> None:
    said = airtally(*name.split(), "--help")
    assert said.returncode == 0
    assert "Usage" in said.stdout
    assert len(said.stdout.splitlines()) > 5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AIRTALLY_PARTITIONS", "a dozen"),
        ("AIRTALLY_PARTITIONS", "0"),
        ("AIRTALLY_TOPIC", "votes/7"),
        ("AIRTALLY_REDIS_URL", "localhost:6379"),
        ("AIRTALLY_CLICKHOUSE_URL", "clickhouse:8123"),
        ("AIRTALLY_RETENTION_MS", "-1"),
        ("AIRTALLY_KAFKA", "kafka:"),
        ("AIRTALLY_KAFKA", "kafka"),
        ("AIRTALLY_KAFKA", "kafka:9092/"),
        ("AIRTALLY_KAFKA", "kafka:9092,other:many"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(airtally: Airtally, variable: str, value: str) -> None:
    said = airtally("status", env={variable: value})
    assert said.returncode == 2
    assert variable in said.stderr
    assert value in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("variable", ["AIRTALLY_REDIS_URL", "AIRTALLY_CLICKHOUSE_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "me:hunter2@server:9000",
        "oddly://me:hunt@er2@server:9000",
        "redis://me:hunt/er2@server:9000",
        "http://me:hunt#er2@server:9000",
    ],
)
def test_a_password_is_not_shown(airtally: Airtally, variable: str, value: str) -> None:
    said = airtally("status", env={variable: value})
    assert said.returncode == 2
    assert variable in said.stderr
    assert "***@server:9000" in said.stderr
    assert "hunt" not in said.stdout + said.stderr


@pytest.mark.parametrize("service", ["tally", "archive", "live", "edge"])
def test_a_service_without_addresses_says_what_to_set(airtally: Airtally, service: str) -> None:
    said = airtally(service, env={"AIRTALLY_HEALTH_PORT": "0"})
    assert said.returncode == 2
    assert "AIRTALLY_" in said.stderr
    assert "airtally up" in said.stderr


@pytest.mark.parametrize("arguments", [("Gala", "best"), ("gala", "be st"), ("gala", "-x" * 32), ("gala", "a/b")])
def test_an_odd_id_is_refused(airtally: Airtally, arguments: tuple[str, str]) -> None:
    said = airtally("result", "--", *arguments)
    assert said.returncode == 2
    assert "is not an id" in said.stderr


@pytest.mark.parametrize(
    ("options", "more", "named"),
    [
        ("ada,ada", (), "same id"),
        ("Ada", (), "regex"),
        ("ada", ("--dedupe-horizon", "soon"), "not a duration"),
        ("ada", ("--dedupe-horizon", "10ms"), ">= 1000"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_before_anything_is_asked(
    airtally: Airtally, options: str, more: tuple[str, ...], named: str
) -> None:
    said = airtally(
        "poll", "open", "gala", "best", "--options", options, *more, env={"AIRTALLY_REDIS_URL": "redis://h"}
    )
    assert said.returncode == 2
    assert named in said.stderr


@pytest.mark.parametrize("value", ["redis://me:hunter2", "http://me:hunter2"])
def test_a_password_without_its_server_is_not_shown(airtally: Airtally, value: str) -> None:
    for variable in ("AIRTALLY_REDIS_URL", "AIRTALLY_CLICKHOUSE_URL"):
        said = airtally("status", env={variable: value})
        assert said.returncode == 2
        assert f"{value.partition('me')[0]}***" in said.stderr
        assert "hunter2" not in said.stdout + said.stderr


def test_certificates_that_are_not_there_are_named(airtally: Airtally) -> None:
    tls = {"AIRTALLY_KAFKA": "127.0.0.1:1", "AIRTALLY_KAFKA_SECURITY": "SSL", "AIRTALLY_KAFKA_CA_FILE": "none.pem"}
    said = airtally("doctor", env=tls)
    assert said.returncode == 2
    assert "AIRTALLY_KAFKA_CA_FILE=none.pem cannot be used" in said.stdout
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("name", ["simulate", "load"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_sent(airtally: Airtally, name: str) -> None:
    said = airtally(name, "gala", "best", "--expect", "none/expected.json")
    assert said.returncode == 2
    assert "none/expected.json cannot be written: name another by --expect" in said.stderr


def test_nothing_is_running_in_an_empty_folder(airtally: Airtally) -> None:
    assert "airtally up" in airtally("status").stdout
    assert airtally("down").stdout.strip() == "nothing was running"
    assert airtally("status", "--json").stdout.strip() == "[]"
