"""`airtally load` and `airtally edge-token`, as a user runs them, against an edge that runs."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.edge.tokens import REVOKED_KEY, Tokens
from pipeline.ledger.connection import connect
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError
from tests.workers import environment, running

from .conftest import Airtally

KEYS = "new:0123456789abcdef0123456789abcdef,old:fedcba9876543210fedcba9876543210"


def signer(token: str, *keys: str) -> list[str]:
    """Name the keys that verify a token."""
    found = []
    for key in keys:
        name, _, text = key.partition(":")
        with contextlib.suppress(ProblemError):
            Tokens({name: text}).verify(token)
            found.append(name)
    return found


def test_a_token_is_signed_by_the_first_key(airtally: Airtally) -> None:
    env = {"AIRTALLY_EDGE_TOKEN_KEYS": KEYS}
    said = json.loads(airtally("edge-token", "mint", "cdn-1", "--days", "2", "--json", env=env).stdout)
    assert signer(said["token"], *KEYS.split(",")) == ["new"]
    assert said["edge_id"] == "cdn-1"
    for_people = airtally("edge-token", "mint", "cdn-1", env=env).stdout.split("\n")
    assert for_people[0].startswith("for cdn-1, id ")
    assert signer(for_people[1], *KEYS.split(",")) == ["new"]


@pytest.mark.parametrize(
    ("arguments", "keys", "named"),
    [
        (("cdn-1",), None, "AIRTALLY_EDGE_TOKEN_KEYS is not set"),
        (("cdn-1",), "new:short", "at least 32"),
        (("CDN 1",), KEYS, "is not an id"),
        (("cdn-1", "--days", "0"), KEYS, "--days"),
    ],
)
def test_a_token_that_cannot_be_made_is_said(
    airtally: Airtally, arguments: tuple[str, ...], keys: str | None, named: str
) -> None:
    said = airtally("edge-token", "mint", *arguments, env={"AIRTALLY_EDGE_TOKEN_KEYS": keys} if keys else None)
    assert said.returncode == 2
    assert named in said.stderr
    assert "Traceback" not in said.stderr
    assert "short" not in said.stderr  # a key is shown to nobody


@pytest.mark.parametrize(
    ("options", "named"), [(("--batch", "501"), "--batch"), (("--rate", "0"), "--rate"), (("--sockets", "yes"), "yes")]
)
def test_a_load_that_cannot_be_is_refused(airtally: Airtally, options: tuple[str, ...], named: str) -> None:
    said = airtally("load", "gala", "best", *options)
    assert said.returncode == 2
    assert named in said.stderr


@pytest.fixture
def env(system: LocalStack, topic: Settings) -> Iterator[dict[str, str]]:
    """Run a tally and an edge with a modest rate for its address; give the environment of commands."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    keys = {"AIRTALLY_EDGE_TOKEN_KEYS": KEYS}
    edge = {
        **keys,
        "AIRTALLY_EDGE_PORT": str(port),
        "AIRTALLY_EDGE_SECRET": 32 * "s",
        "AIRTALLY_EDGE_ADDRESS_PER_S": "1",
        "AIRTALLY_EDGE_ADDRESS_BURST": "150",
    }
    with running(system, topic, "tally"), running(system, topic, "edge", **edge):
        yield {**environment(topic), **keys, "URL": url}


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_a_load_is_checked_and_a_revoked_token_lets_nobody_in(
    airtally: Airtally, env: dict[str, str], topic: Settings, tmp_path: Path
) -> None:
    def load(*options: str, status: int = 0) -> tuple[str, dict[str, object]]:
        line = ("load", "gala", "best", "--url", env["URL"], "--expect", "e.json", "--timeout", "20", *options)
        done = airtally(*line, env=env)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr, json.loads((tmp_path / "e.json").read_bytes())

    unknown = airtally("load", "gala", "best", "--url", env["URL"], env=env)
    assert unknown.returncode == 1
    assert "airtally poll open" in unknown.stderr
    assert airtally("poll", "open", "gala", "best", "--options", "ada,bo", env=env).returncode == 0
    remote = airtally("load", "gala", "best", "--url", "http://192.0.2.1:8091", env=env)
    assert remote.returncode == 2
    assert "--allow-remote" in remote.stderr

    said, expected = load("--rate", "100", "--duration", "1", "--check")
    assert expected["total"] == 100
    assert "counted 100: agrees" in said
    said, expected = load("--rate", "20", "--duration", "1", "--sockets", "--connections", "20", "--check")
    assert "20 of 20 sockets" in said
    assert expected["total"] == 20

    minted = json.loads(airtally("edge-token", "mint", "cdn-1", "--json", env=env).stdout)
    arrays = ("--rate", "10", "--duration", "1", "--batch", "500", "--token", minted["token"])
    said, expected = load(*arrays, "--check")
    assert expected["total"] == 5_000
    assert "counted 5,000: agrees" in said

    revoked = airtally("edge-token", "revoke", minted["token_id"], env=env)
    assert f"revoked: {minted['token_id']}" in revoked.stdout
    client = connect(topic)
    assert await client.sismember(REVOKED_KEY, minted["token_id"])
    _, expected = load(*arrays, "--check")  # the edge has looked by the time that this has started
    assert (expected["total"], expected["refused"]) == (0, {"invalid-token": 5_000})
    undone = airtally("edge-token", "revoke", minted["token_id"], "--undo", env=env)
    assert undone.returncode == 0, undone.stderr
    assert not await client.sismember(REVOKED_KEY, minted["token_id"])
    await client.aclose()
    _, expected = load(*arrays, "--check")
    assert (expected["total"], expected["refused"]) == (5_000, {})
