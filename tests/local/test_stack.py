"""The whole local system: up, down, and every way in which either is interrupted."""

import json
import os
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError, PortInUseError, UnavailableError
from pipeline.local import kafka_jars, state
from pipeline.local.ports import free_port
from pipeline.local.stack import Addresses, LocalStack, Part, Service, read_state, status, stop_state

from .conftest import Eventually, OrSkip, ProcessesIn, StartScript

pytestmark = pytest.mark.real

QUICK = {Part.REDIS}  # where the test is about starting and stopping, not about the part

_HOLDER = """
import sys, time
from pathlib import Path
from pipeline.local.stack import LocalStack, Part
parts = [Part(name) for name in sys.argv[2].split(",")]
with LocalStack(Path(sys.argv[1]), parts) as stack:
    print("up", flush=True)
    time.sleep(600)
"""

_UP = """
import sys
from pathlib import Path
from pipeline.local.stack import LocalStack, Part, Service, free_port
url = f"http://127.0.0.1:{free_port()}/"
never = Service("never", [sys.executable, "-c", "import time; time.sleep(600)"], ready_url=url)
print("begin", flush=True)
LocalStack(Path(sys.argv[1]), [Part.REDIS], services=[never]).start(detached=True)
"""

_SERVICE = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["AIRTALLY_REDIS_URL"] + " " + os.environ["MOOD"]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_the_whole_system_goes_up_once_and_down_once(folder: Path, or_skip: OrSkip, processes_in: ProcessesIn) -> None:
    said: list[str] = []
    with or_skip():
        assert LocalStack(folder).start(detached=True, on_progress=said.append)
    before = status(folder)
    assert {part.name for part in before} == set(Part)
    assert all(part.alive and part.answering and part.version and Path(part.log_file).is_file() for part in before)
    assert [line.partition(":")[0] for line in sorted(said)] == ["ClickHouse", "Kafka", "Redis"]

    assert not LocalStack(folder).start(detached=True), "a second start does nothing"
    assert status(folder) == before
    with pytest.raises(ConfigurationError, match=r"runs already.*airtally down"):
        LocalStack(folder).start()
    assert status(folder) == before

    assert set(stop_state(folder)) == set(Part)
    assert status(folder) == []
    assert not processes_in(folder)
    assert stop_state(folder) == []


def test_when_its_process_is_killed_the_whole_system_ends(
    folder: Path, or_skip: OrSkip, start_script: StartScript, eventually: Eventually, processes_in: ProcessesIn
) -> None:
    with or_skip():
        kafka_jars.java()
        kafka_jars.jars(print)
    holder = start_script(_HOLDER, folder, ",".join(Part))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    assert len(processes_in(folder)) >= len(Part)
    holder.kill()
    eventually(lambda: not processes_in(folder))
    began = time.monotonic()
    with LocalStack(folder, {Part.REDIS, Part.CLICKHOUSE}) as stack:  # the folder is as good as new
        assert stack.addresses.redis_url
    assert time.monotonic() - began < 15


def test_what_a_crash_has_left_is_stopped_before_the_next_start(folder: Path, or_skip: OrSkip) -> None:
    with or_skip():
        LocalStack(folder, QUICK).start(detached=True)
    left = read_state(folder)
    assert left is not None
    state.write_state(
        folder, state.State(detached=True, complete=False, addresses=left.addresses, entries=left.entries)
    )
    said: list[str] = []
    stack = LocalStack(folder, QUICK)
    assert stack.start(on_progress=said.append)
    assert not left.entries[0].alive
    assert said[0] == "redis: stopped, left over from a run that was interrupted"
    stack.stop()


def test_a_state_of_before_a_reboot_is_no_obstacle(folder: Path, or_skip: OrSkip) -> None:
    with or_skip(), LocalStack(folder, QUICK) as stack:
        text = (stack.folder / "state.json").read_text()
    raw = json.loads(text)
    raw["detached"] = raw["complete"] = True
    raw["entries"][0]["identity"] = {"pid": 1, "born": "an earlier boot 125"}  # somebody else's by now
    (folder / "state.json").write_text(json.dumps(raw))
    assert [part.alive for part in status(folder)] == [False]
    assert LocalStack(folder, QUICK).start(detached=True)
    assert [part.answering for part in status(folder)] == [True]
    stop_state(folder)


def test_a_killed_start_leaves_nothing(
    folder: Path, or_skip: OrSkip, start_script: StartScript, eventually: Eventually, processes_in: ProcessesIn
) -> None:
    with or_skip(), LocalStack(folder, QUICK):
        pass
    starter = start_script(_UP, folder)
    eventually(lambda: len(read_entries(folder)) == 2)
    starter.kill()
    eventually(lambda: not processes_in(folder))


def read_entries(folder: Path) -> tuple[state.Entry, ...]:
    found = read_state(folder)
    return found.entries if found is not None else ()


def test_ctrl_c_while_starting_leaves_nothing(
    folder: Path, or_skip: OrSkip, start_script: StartScript, eventually: Eventually, processes_in: ProcessesIn
) -> None:
    with or_skip(), LocalStack(folder, QUICK):
        pass
    starter = start_script(_UP, folder)
    eventually(lambda: len(read_entries(folder)) == 2)
    starter.send_signal(signal.SIGINT)
    assert starter.wait(10) != 0
    assert not processes_in(folder)
    assert read_state(folder) is None


def test_a_failure_in_the_middle_of_a_start_stops_what_ran(
    folder: Path, or_skip: OrSkip, processes_in: ProcessesIn
) -> None:
    broken = Service("tally", [sys.executable, "-c", "raise SystemExit('no topic')"], ready_url="http://127.0.0.1:9/")
    with or_skip(), pytest.raises(UnavailableError, match=r"(?s)tally ended.*no topic"):
        LocalStack(folder, QUICK, services=[broken]).start(detached=True)
    assert not processes_in(folder)
    assert read_state(folder) is None


def test_a_port_in_use_is_refused_and_nothing_is_started(
    folder: Path, or_skip: OrSkip, processes_in: ProcessesIn
) -> None:
    with or_skip(), LocalStack(folder / "first", QUICK) as first:
        port = int(first.addresses.redis_url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(PortInUseError, match=rf"Redis wants port {port} .*redis-server \(pid \d+\)"):
            LocalStack(folder / "second", {Part.REDIS, Part.CLICKHOUSE}, ports={Part.REDIS: port}).start()
        assert not processes_in(folder / "second")


def test_two_at_once_in_one_folder_are_refused(folder: Path, or_skip: OrSkip) -> None:
    with or_skip(), LocalStack(folder, QUICK) as stack:
        with pytest.raises(ConfigurationError, match="another Airtally command"):
            LocalStack(folder, QUICK).start()
        with pytest.raises(ConfigurationError, match="another Airtally command"):
            stop_state(folder)
        stack.children[Part.REDIS].launch.probe()


def test_a_folder_is_cleared_of_what_was_left_not_of_what_runs(folder: Path, or_skip: OrSkip) -> None:
    with or_skip():
        LocalStack(folder, QUICK).start(detached=True)
    held = set(folder.rglob("*"))
    with pytest.raises(ConfigurationError, match="runs already"):
        state.clear(folder)
    assert set(folder.rglob("*")) == held
    left = read_state(folder)
    assert left is not None
    state.write_state(folder, replace(left, complete=False))  # as an interrupted start does
    state.clear(folder)
    assert not left.entries[0].alive
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_part_with_an_address_is_not_started(folder: Path, or_skip: OrSkip) -> None:
    with or_skip(), LocalStack(folder / "first", QUICK) as first:
        url = first.addresses.redis_url
        with LocalStack(folder / "second", QUICK, given=Addresses(redis_url=url)) as second:
            assert second.addresses == Addresses(redis_url=url)
            assert not second.children
            (part,) = status(folder / "second")
            assert part.pid is None
            assert part.answering
        first.children[Part.REDIS].launch.probe()  # it was not ours to stop


def test_services_start_after_parts_and_preparation_and_find_the_addresses(folder: Path, or_skip: OrSkip) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    service = Service("tally", [sys.executable, "-c", _SERVICE, str(port)], ready_url=url, env={"MOOD": "merry"})
    prepared: list[Addresses] = []
    with or_skip():
        LocalStack(folder, QUICK, services=[service], prepare=prepared.append).start(detached=True)
    assert prepared == [Addresses(redis_url=prepared[0].redis_url)]
    redis, tally = status(folder)
    assert (redis.name, tally.name, tally.address) == ("redis", "tally", url)
    assert tally.answering
    with urllib.request.urlopen(url) as answer:
        assert answer.read().decode() == f"{prepared[0].redis_url} merry"
    assert stop_state(folder) == ["tally", "redis"]


def serving(name: str, code: str = _SERVICE) -> Service:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    return Service(name, [sys.executable, "-c", code, str(port)], ready_url=url, env={"MOOD": "merry"})


def test_only_services_that_have_ended_are_started_again(folder: Path, or_skip: OrSkip, eventually: Eventually) -> None:
    services = [serving("tally"), serving("archive")]
    with or_skip():
        LocalStack(folder, QUICK, services=services[:1]).start(detached=True)
    redis, tally = status(folder)
    assert tally.pid is not None
    os.kill(tally.pid, signal.SIGKILL)
    eventually(lambda: not status(folder)[1].alive)
    said: list[str] = []
    assert LocalStack(folder, QUICK, services=services).start(detached=True, on_progress=said.append)
    assert sorted(said) == ["archive: ready", "tally: ready"]
    assert not LocalStack(folder, QUICK, services=services).start(detached=True)
    ends = serving("live", "raise SystemExit(3)")
    with pytest.raises(UnavailableError, match="live ended while starting"):
        LocalStack(folder, QUICK, services=[*services, ends]).start(detached=True)
    now = {part.name: part for part in status(folder)}
    assert {name for name, part in now.items() if part.answering} == {"redis", "tally", "archive"} == set(now)
    assert now["redis"].pid == redis.pid
    stop_state(folder)


def test_a_service_whose_port_is_in_use_is_refused(folder: Path) -> None:
    service = serving("tally")
    with (
        socket.create_server(("127.0.0.1", int(service.argv[-1]))),
        pytest.raises(PortInUseError, match="tally wants port .*--any-port"),
    ):
        LocalStack(folder, QUICK, services=[service]).start(detached=True)
    assert status(folder) == []


def test_a_folder_of_somebody_else_is_not_cleared(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "letters.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="was not made by Airtally"):
        state.clear(folder)
    assert [path.name for path in folder.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 1}'])
def test_what_cannot_be_read_is_not_taken_for_nothing(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "state.json").write_text(text)
    for ask in (status, stop_state, state.clear):
        with pytest.raises(ConfigurationError, match="state.json|was not made"):
            ask(folder)
    assert (folder / "state.json").read_text() == text


def test_a_status_tells_what_has_died(folder: Path, or_skip: OrSkip) -> None:
    with or_skip(), LocalStack(folder, QUICK) as stack:
        stack.children[Part.REDIS].kill()
        (part,) = status(folder)
        assert not part.alive
        assert not part.answering
        assert "has ended" in part.detail
        assert part.log_file in part.detail
        stack.restart(Part.REDIS)
        (part,) = status(folder)
        assert part.answering
