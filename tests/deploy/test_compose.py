"""docker-compose.yml cannot be run without Docker. So: is it well formed, and does all that it names exist?"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml
from typer.core import TyperGroup

from pipeline import cli, settings
from pipeline.settings import Settings

from .compose import COMPOSE, FILE, OURS, ROOT, SERVICES, variables_without_default

EACH_SERVICE = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
EACH_OF_OURS = pytest.mark.parametrize("service", OURS.values(), ids=OURS.keys())


def check_specification(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_follows_the_compose_specification() -> None:
    done = check_specification(FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_would_be_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    kafka = {**SERVICES["kafka"], "healthchek": {}}
    wrong.write_text(yaml.safe_dump({**COMPOSE, "services": {**SERVICES, "kafka": kafka}}))
    done = check_specification(wrong)
    assert done.returncode == 1
    assert "healthchek" in done.stdout


def test_the_services_are_those_of_the_design() -> None:
    assert set(SERVICES) == {"kafka", "redis", "clickhouse", "init", "edge", "tally", "archive", "live"}
    assert set(OURS) == {"init", "edge", "tally", "archive", "live"}
    assert variables_without_default() == []


@EACH_OF_OURS
def test_what_it_runs_is_a_command_of_ours(service: dict[str, Any]) -> None:
    command = typer.main.get_command(cli.app)
    assert isinstance(command, TyperGroup)
    assert command.get_command(typer.Context(command), service["command"][0]) is not None


@EACH_OF_OURS
def test_the_files_that_it_is_built_from_exist(service: dict[str, Any]) -> None:
    context = ROOT / service["build"]["context"]
    assert (context / service["build"]["dockerfile"]).is_file()
    assert context.resolve() == ROOT


@EACH_OF_OURS
def test_its_settings_are_settings(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service["environment"].items():
        assert name.removeprefix("AIRTALLY_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    hosts = [f"//{loaded.kafka}", str(loaded.redis_url), str(loaded.clickhouse_url)]
    assert [urlsplit(url).hostname for url in hosts] == ["kafka", "redis", "clickhouse"]
    assert loaded.replication == loaded.min_insync == 1  # there is one broker
    assert loaded.health_host == "0.0.0.0"
    published = {port.rpartition(":")[2] for port in service.get("ports", [])}
    doors = {"live": loaded.live_port, "edge": loaded.edge_port}
    served = [loaded.health_port, doors.get(service["command"][0])]
    assert published == {str(port) for port in served if port is not None}


@EACH_OF_OURS
def test_it_may_write_into_its_own_folder(service: dict[str, Any]) -> None:
    """Docker gives a tmpfs to root, unless told otherwise; the image runs as another."""
    assert service["read_only"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    user, home = (re.search(pattern, dockerfile)[1] for pattern in (r"\nUSER (\d+:\d+)", r"\nWORKDIR (/var/\S+)"))  # type: ignore[index]
    uid, _, gid = user.partition(":")
    options = dict(each.partition(":")[::2] for each in service["tmpfs"])
    assert options["/tmp"] == ""  # anybody's
    assert set(options[home].split(",")) >= {f"uid={uid}", f"gid={gid}"}


def test_an_edge_has_time_to_drain() -> None:
    grace_s = int(OURS["edge"]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= 2 * Settings().edge_drain_s + Settings().edge_lame_duck_s


def test_the_pages_can_be_reached_from_outside_their_container() -> None:
    assert OURS["live"]["environment"]["AIRTALLY_LIVE_HOST"] == "0.0.0.0"
    assert OURS["live"]["ulimits"]["nofile"]["soft"] > Settings().live_readers
    assert OURS["edge"]["environment"]["AIRTALLY_EDGE_HOST"] == "0.0.0.0"
    assert OURS["edge"]["ulimits"]["nofile"]["soft"] > Settings().edge_connections


def test_the_password_of_the_archive_is_the_servers() -> None:
    url = urlsplit(OURS["archive"]["environment"]["AIRTALLY_CLICKHOUSE_URL"])
    server = SERVICES["clickhouse"]["environment"]
    assert (url.username, url.password) == (server["CLICKHOUSE_USER"], server["CLICKHOUSE_PASSWORD"])


@EACH_SERVICE
def test_it_starts_after_what_it_needs(service: dict[str, Any]) -> None:
    for name, dependency in service.get("depends_on", {}).items():
        if dependency["condition"] == "service_completed_successfully":
            assert SERVICES[name]["restart"] == "no"
        else:
            assert dependency["condition"] == "service_healthy"
            assert SERVICES[name]["healthcheck"]["test"]
    if "build" in service:
        assert {"kafka", "redis", "clickhouse"} <= set(service["depends_on"])


@EACH_SERVICE
def test_it_is_published_to_this_machine_only(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@EACH_SERVICE
def test_its_image_is_pinned(service: dict[str, Any]) -> None:
    _, _, tag = service["image"].rpartition(":")
    assert tag[0].isdigit()
    assert "." in tag


@EACH_SERVICE
def test_its_data_outlives_it(service: dict[str, Any]) -> None:
    named = {volume.partition(":")[0] for volume in service.get("volumes", [])}
    assert named <= set(COMPOSE["volumes"])
    assert named or "build" in service


def test_redis_never_evicts_and_writes_a_log() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"


def test_the_broker_makes_no_topics_by_itself_and_is_advertised_where_it_is_reached() -> None:
    environment = SERVICES["kafka"]["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    advertised = dict(part.split("://") for part in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
    listeners = dict(part.split("://") for part in environment["KAFKA_LISTENERS"].split(","))
    assert advertised["INSIDE"] == OURS["tally"]["environment"]["AIRTALLY_KAFKA"]
    assert set(advertised) | {"CONTROLLER"} == set(listeners)
    (port,) = SERVICES["kafka"]["ports"]
    _, outside, inside = port.split(":")
    assert advertised["OUTSIDE"] == f"localhost:{outside}"
    assert listeners["OUTSIDE"] == f":{inside}"
