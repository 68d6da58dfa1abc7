"""Real servers for the tests of this folder, and the proof that none is left over.

A missing tool skips a test on a laptop; with CI=true in the environment it fails: a gate that skips is no gate.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.client import Client

from pipeline.errors import MissingToolError
from pipeline.local.stack import LocalStack, Part

OrSkip = Callable[[], AbstractContextManager[None]]
ProcessesIn = Callable[[Path], list[psutil.Process]]
Eventually = Callable[[Callable[[], bool]], None]
StartScript = Callable[..., subprocess.Popen[str]]


@contextmanager
def _or_skip() -> Iterator[None]:
    try:
        yield
    except MissingToolError as error:
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def or_skip() -> OrSkip:
    """Around whatever starts a real server."""
    return _or_skip


def _processes_in(folder: Path) -> list[psutil.Process]:
    """Every living process that was told of the folder or works in it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = any(str(folder) in argument for argument in process.cmdline())
            if (told or process.cwd().startswith(str(folder))) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.fixture(scope="session")
def processes_in() -> ProcessesIn:
    return _processes_in


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a system; the test fails if a process is left in it."""
    home = tmp_path / "home"
    yield home
    deadline = time.monotonic() + 5  # a guard needs a moment to notice that there is nothing left to guard
    while (left := _processes_in(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    assert not left, f"left running: {left}"


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait a few seconds for something to become true."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 15
        while not condition():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.05)

    return wait


@pytest.fixture
def start_script(tmp_path: Path) -> Iterator[StartScript]:
    """Run Python source as a process of its own; whatever is left of it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object) -> subprocess.Popen[str]:
        script = tmp_path / f"script{len(started)}.py"
        script.write_text(source)
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory, or_skip: OrSkip) -> Iterator[LocalStack]:
    """A gateway for all tests of a module."""
    stack = _started(tmp_path_factory.mktemp("clickhouse"), {Part.CLICKHOUSE}, or_skip)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def port(clickhouse: LocalStack) -> int:
    """The gateway's."""
    return int(clickhouse.addresses.clickhouse_url.rpartition(":")[2])


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    """An ordinary synchronous client, with its defaults: it compresses."""
    with connect(port) as client:
        yield client


@contextmanager
def connect(port: int, **options: Any) -> Iterator[Client]:
    """A client that closes its connections; clients share them otherwise, and leave them open at the end."""
    with clickhouse_connect.get_client(host="127.0.0.1", port=port, dedicated_pool=True, **options) as client:
        yield client


def _started(folder: Path, parts: Collection[Part], or_skip: OrSkip) -> LocalStack:
    stack = LocalStack(folder, parts)
    with or_skip():
        stack.start()
    return stack
