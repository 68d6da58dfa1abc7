import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Airtally = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def airtally(tmp_path: Path) -> Airtally:
    """Run the command as a user does, in an empty folder."""

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRTALLY_")}
        return subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments],
            env={**clean, "COLUMNS": "200", **(env or {})},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
