"""`airtally up`, `status`, `down`, and the demo: real, in a folder of their own."""

import contextlib
import json
import re
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from pipeline.cli.local import how_to
from pipeline.cli.local_services import display, edge_service, worker
from pipeline.local.parts import Addresses
from pipeline.local.state import Entry, State, read_state, status, write_state
from pipeline.settings import Settings

from .conftest import Airtally, Begun

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def living_in(folder: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"] or ())
        for process in psutil.process_iter(["cmdline", "cwd"])
        if any(str(folder) in text for text in (*(process.info["cmdline"] or ()), process.info["cwd"] or ""))
    ]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        content: bytes = answer.read()
        return content


def test_up_status_down(airtally: Airtally, tmp_path: Path) -> None:
    up = airtally("up", "--any-port", timeout=120)
    try:
        assert up.returncode == 0, up.stderr
        assert "redis-cli" in up.stdout
        assert "poll_results" in up.stdout
        rows = json.loads(airtally("status", "--json").stdout)
        parts = {"kafka", "redis", "clickhouse", "tally", "archive", "live", "edge"}
        assert {row["name"] for row in rows if row["answering"]} >= parts
        again = airtally("up", "--any-port").stdout
        assert "was running already" in again
        served = {row["name"]: row["serves"] for row in rows if row["serves"]}
        assert set(served) == {"live", "edge"}
        url, edge = served["live"], served["edge"]
        for said in (up.stdout, again, airtally("status").stdout):
            assert f"{url}/overlay/<show>/<poll>" in said
            assert f"{url}/host/<show>/<poll>" in said
            assert f"{edge}/v1/shows/<show>/polls/<poll>/votes" in said
        assert f"{edge}  tokens for edges in front" in up.stdout
        opened = airtally("poll", "open", "gala", "best", "--options", "ada,bo")
        assert opened.returncode == 0
        assert airtally("result", "gala", "best").returncode == 0
        for page in ("overlay", "host"):
            assert f"{url}/{page}/gala/best" in opened.stdout
            assert b"<html" in fetch(f"{url}/{page}/gala/best")
        line = next(line for line in opened.stdout.splitlines() if line.startswith("vote "))
        voted = subprocess.run(["sh", "-c", line.removeprefix("vote ")], capture_output=True, text=True, check=True)
        assert json.loads(voted.stdout) == {"accepted": 1}
        token = json.loads(airtally("edge-token", "mint", "cdn-1", "--json").stdout)["token"]
        load = airtally("load", "gala", "best", "--rate", "10", "--duration", "1", "--batch", "60", "--token", token)
        assert load.returncode == 0, load.stderr
        assert "600 votes acknowledged" in load.stdout
    finally:
        down = airtally("down", timeout=90)
    assert down.returncode == 0
    assert living_in(tmp_path) == []


ELSEWHERE = {
    "AIRTALLY_KAFKA": "127.0.0.1:1",
    "AIRTALLY_KAFKA_SECURITY": "SASL_SSL",
    "airtally_redis_url": "redis://127.0.0.1:1/0",
    "AIRTALLY_CLICKHOUSE_URL": "http://127.0.0.1:1",
    "AIRTALLY_INSTANCE_ID": "tally-1",
    "AIRTALLY_REPLICATION": "3",
    "AIRTALLY_TOPIC": "votes-of-the-show",
    "AIRTALLY_EDGE_SECRET": "too short for an edge",
    "AIRTALLY_LIVE_HOST": "192.0.2.1",  # no address of this machine
    "AIRTALLY_EDGE_HOST": "192.0.2.1",
    "AIRTALLY_HEALTH_HOST": "192.0.2.1",
}


def test_the_demo_agrees_and_leaves_nothing_running(airtally: Airtally, tmp_path: Path) -> None:
    # On servers of its own, though the shell is one of a control room.
    said = airtally("demo", "--records", "17000", "--seconds", "5", env=ELSEWHERE, timeout=240)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "ALL AGREE" in said.stdout
    assert "on air" in said.stdout
    through = re.search(r"Through the edge: ([\d,]+) votes in [\d,]+ arrays from cdn-1, cdn-2, cdn-3", said.stdout)
    assert through is not None
    assert int(through[1].replace(",", "")) > 3_000
    assert living_in(tmp_path) == []


def test_a_demo_that_stays_is_on_the_air_until_ctrl_c(
    airtally: Airtally, airtally_begun: Begun, tmp_path: Path
) -> None:
    begun = airtally_begun("demo", "--stay", env={"AIRTALLY_LIVE_PORT": "0"})
    url = next(
        found[1] for line in begun.stdout or () if (found := re.search(r"(http\S+)/overlay/grand-final/winner", line))
    )
    seen: list[int] = []
    while len(seen) < 3:  # other numbers, as votes come in; the test's time is bounded
        with contextlib.suppress(urllib.error.HTTPError):  # the poll may not be known yet
            total = json.loads(fetch(f"{url}/v1/shows/grand-final/polls/winner"))["total"]
            seen += [total] if total not in seen else []
        time.sleep(0.2)
    assert seen == sorted(seen)
    second = airtally("demo")
    assert second.returncode == 2
    assert f"pid {begun.pid}" in second.stderr
    begun.send_signal(signal.SIGINT)
    said, complaints = begun.communicate(timeout=90)
    assert begun.returncode == 0, said + complaints
    assert "ALL AGREE" in said
    assert re.search(r"Through the edge: [1-9]", said)
    assert living_in(tmp_path) == []


def test_of_servers_elsewhere_status_says_nothing(airtally: Airtally, tmp_path: Path) -> None:
    (home := tmp_path / ".airtally").mkdir()
    assert "airtally up" in airtally("status").stdout
    said = airtally("status", env=ELSEWHERE)
    assert "airtally doctor" in said.stdout
    assert "airtally up" not in said.stdout
    write_state(home, State(detached=True, complete=True, addresses=Addresses("127.0.0.1:9092")))
    assert "airtally doctor" in airtally("status", env=ELSEWHERE).stdout
    assert "airtally doctor" not in airtally("status", env={"AIRTALLY_KAFKA": "127.0.0.1:9092"}).stdout  # its own


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1"),
        ("0.0.0.0", "http://127.0.0.1"),
        ("::", "http://[::1]"),
        ("graphics.example", "http://graphics.example"),
    ],
)
def test_services_listen_where_the_settings_say(host: str, url: str) -> None:
    found = Settings(live_host=host, edge_host=host, health_host=host)
    tally, live, edge = worker("tally", 1, found), display(2, 3, found), edge_service(4, 5, found)
    for service, port in ((tally, 1), (live, 2), (edge, 4)):
        assert service.env["AIRTALLY_HEALTH_HOST"] == host
        assert service.ready_url == f"{url}:{port}/readyz"
    assert (live.env["AIRTALLY_LIVE_HOST"], live.address) == (host, f"{url}:3")
    assert (edge.env["AIRTALLY_EDGE_HOST"], edge.address) == (host, f"{url}:5")


def test_no_password_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    addresses = Addresses("kafka:9092", "redis://me:hunter2@redis:6379/0", "https://me:hunter2@clickhouse:8443")
    state = State(
        detached=True,
        complete=True,
        addresses=addresses,
        entries=(Entry("redis", addresses.redis_url), Entry("clickhouse", addresses.clickhouse_url)),
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state  # whole, for this user alone
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    others = Addresses("kafka:9092", "redis://me:hunter2@redis/0", "https://clickhouse:8443/?user=me&password=hunter2")
    shown = [
        *(line for where in (addresses, others) for line in how_to(Settings(home=tmp_path), where)),
        *(text for row in status(tmp_path) for text in (row.address, row.detail)),
    ]
    assert "hunter2" not in "\n".join(shown)
    assert any("does not answer" in text for text in shown)
    assert "redis://***@redis:6379/0" in shown
