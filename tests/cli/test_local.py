"""`airtally up`, `status`, `down`, and the demo: real, in a folder of their own."""

import json
from pathlib import Path

import psutil
import pytest

from .conftest import Airtally

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def living_in(folder: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline", "cwd"])
        if any(str(folder) in text for text in (*(process.info["cmdline"] or ()), process.info["cwd"] or ""))
    ]


def test_up_status_down(airtally: Airtally, tmp_path: Path) -> None:
    up = airtally("up", "--any-port", timeout=120)
    try:
        assert up.returncode == 0, up.stderr
        assert "redis-cli" in up.stdout
        assert "poll_results" in up.stdout
        rows = json.loads(airtally("status", "--json").stdout)
        assert {row["name"] for row in rows if row["answering"]} >= {"kafka", "redis", "clickhouse", "tally", "archive"}
        assert "was running already" in airtally("up", "--any-port").stdout
        assert airtally("poll", "open", "gala", "best", "--options", "ada,bo").returncode == 0
        assert airtally("result", "gala", "best").returncode == 0
    finally:
        down = airtally("down", timeout=90)
    assert down.returncode == 0
    assert living_in(tmp_path) == []


def test_the_demo_agrees_and_leaves_nothing_running(airtally: Airtally, tmp_path: Path) -> None:
    said = airtally("demo", "--records", "20000", "--seconds", "6", timeout=150)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "ALL AGREE" in said.stdout
    assert living_in(tmp_path) == []
