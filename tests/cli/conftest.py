import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Airtally = Callable[..., "subprocess.CompletedProcess[str]"]
Begun = Callable[..., "subprocess.Popen[str]"]


def command(arguments: tuple[str, ...], env: Mapping[str, str] | None) -> tuple[list[str], dict[str, str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRTALLY_")}
    return [sys.executable, "-m", "pipeline.cli", *arguments], {**clean, "COLUMNS": "200", **(env or {})}


@pytest.fixture
def airtally(tmp_path: Path) -> Airtally:
    """Run the command as a user does, in an empty folder."""

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        line, environment = command(arguments, env)
        return subprocess.run(
            line, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@pytest.fixture
def airtally_begun(tmp_path: Path) -> Iterator[Begun]:
    """Begin a command that goes on until it is told to end; the test's end is that, too."""
    begun = []

    def begin(*arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        line, environment = command(arguments, env)
        begun.append(
            subprocess.Popen(
                line, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)
