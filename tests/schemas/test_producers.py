"""Producers in other languages, run as they stand: the same pseudonyms, in the same partitions, as our own library."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.edge.pseudonym import Pseudonyms
from pipeline.local.kafka_jars import jars
from pipeline.log.partitioner import java_partition
from pipeline.settings import Settings
from tests.conftest import CI
from tests.edge.test_publisher import log_of
from tests.edge.viewers import SECRET

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

PRODUCERS = Path(__file__).parents[2] / "schemas" / "producers"
README = Path(__file__).parents[2] / "README.md"
VOTERS = [f"account {number}" for number in range(20)] + ["Zoë", "用户", "a" * 256]
FIRST_TIME_S = 200  # packages are fetched once, into the user's cache


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        (pytest.fail if CI else pytest.skip)(f"{name} is not installed")
    return found


def node() -> list[str]:
    """Install what the example needs once, in the user's cache, and run it there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airtally" / "producer-node"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (PRODUCERS / "node" / "package-lock.json").read_bytes()
    kept = folder / "package-lock.json"
    if not (folder / "node_modules").is_dir() or kept.read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(PRODUCERS / "node" / name, folder / name)
        subprocess.run([tool("npm"), "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=FIRST_TIME_S)
    shutil.copyfile(PRODUCERS / "node" / "producer.mjs", folder / "producer.mjs")
    return [tool("node"), str(folder / "producer.mjs")]


def java() -> list[str]:
    return [tool("java"), "-cp", f"{jars(print)}/*", str(PRODUCERS / "java" / "Producer.java")]


def go() -> list[str]:
    return [tool("go"), "run", "-C", str(PRODUCERS / "go"), "."]


Command = Callable[[], list[str]]
EVERY_LANGUAGE = pytest.mark.parametrize("command", [node, java, go], ids=["node", "java", "go"])


def publish(command: Command, topic: Settings, lines: str, **more: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {
        **os.environ,
        "AIRTALLY_KAFKA": topic.kafka or "",
        "AIRTALLY_TOPIC": topic.topic,
        "AIRTALLY_EDGE_SECRET": SECRET,
        **more,
    }
    return subprocess.run(
        [*command(), "gala", "best"],
        input=lines.encode(),
        env=environment,
        capture_output=True,
        timeout=FIRST_TIME_S,
        check=False,
    )


@EVERY_LANGUAGE
def test_a_producer_of_another_language(command: Command, topic: Settings) -> None:
    sent = {voter: str(uuid.uuid4()) for voter in VOTERS}
    done = publish(command, topic, "".join(f"{vote_id}\tada\t{voter}\n" for voter, vote_id in sent.items()))
    assert done.returncode == 0, done.stderr.decode()
    assert f"{len(sent)} acknowledged" in done.stdout.decode()
    names = Pseudonyms(SECRET)
    expected = {(names.of_all("gala", [voter])[0], vote_id) for voter, vote_id in sent.items()}
    found = log_of(topic)
    assert {(vote.voter_id, vote.vote_id) for _, _, vote in found} == expected
    for partition, key, vote in found:
        assert (key, partition) == (vote.voter_id.encode(), java_partition(key, topic.partitions))


@EVERY_LANGUAGE
def test_a_producer_refuses_what_is_no_vote(command: Command, topic: Settings) -> None:
    closes = 'ada","type":"poll.closed","closed_at":1,"n":"'  # a viewer's option that would be a marker
    good = str(uuid.uuid4())
    lines = [
        *(f"{uuid.uuid4()}\t{option}\ta" for option in (closes, "Ada", "")),
        *(f"{vote_id}\tada\ta" for vote_id in ("", "no-uuid", f"{uuid.uuid4()}0")),
        f"{uuid.uuid4()}\tada",
        f"{uuid.uuid4()}\tada\t",
        f"{good}\tada\ta",
    ]
    done = publish(command, topic, "".join(f"{line}\n" for line in lines))
    assert done.returncode == 1
    assert "1 acknowledged" in done.stdout.decode()
    assert "8 refused" in done.stderr.decode()
    assert [vote.vote_id for _, _, vote in log_of(topic)] == [good]


@EVERY_LANGUAGE
@pytest.mark.parametrize("secret", ["", "short"])
def test_a_producer_wants_a_secret(command: Command, topic: Settings, secret: str) -> None:
    done = publish(command, topic, f"{uuid.uuid4()}\tada\ta\n", AIRTALLY_EDGE_SECRET=secret)
    assert done.returncode != 0
    assert b"AIRTALLY_EDGE_SECRET" in done.stderr
    assert log_of(topic) == []


def test_the_example_of_the_readme(topic: Settings, tmp_path: Path) -> None:
    text = README.read_text("utf-8")
    (block,) = [part.split("```")[0] for part in text.split("```python\n")[1:] if "VotePublisher" in part]
    (tmp_path / "example.py").write_text(block)
    environment = {
        **os.environ,
        "AIRTALLY_KAFKA": topic.kafka or "",
        "AIRTALLY_TOPIC": topic.topic,
        "AIRTALLY_PARTITIONS": str(topic.partitions),
        "AIRTALLY_EDGE_SECRET": SECRET,
        "PYTHONPATH": str(README.parent),
    }
    done = subprocess.run(
        [sys.executable, str(tmp_path / "example.py")], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    ((_, _, vote),) = log_of(topic)
    assert vote.voter_id == Pseudonyms(SECRET).of_all("gala", ["account 4711"])[0]
