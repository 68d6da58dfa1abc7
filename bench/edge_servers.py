"""The servers that `bench.edge` measures: our edge, its work behind servers of ASGI, an edge in Node.js, and a bare one."""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.measuring import console, worker
from pipeline.domain.poll import PollId
from pipeline.edge.tokens import Tokens
from pipeline.load.plan import Plan
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack
from pipeline.settings import Settings

POLL = PollId("bench", "poll")
OPTIONS = ("ada", "bo", "cy", "di", "ed")
CONNECTIONS = 200
ENDLESS = 1_000_000  # shots/s: all are due at once, so each connection sends the next when it has its answer
NODE = Path(__file__).parent / "peers" / "node-edge"
TOKEN_KEY = uuid.uuid4().hex

ENVIRONMENT = {
    "AIRTALLY_EDGE_SECRET": uuid.uuid4().hex,
    "AIRTALLY_EDGE_TOKEN_KEYS": f"bench:{TOKEN_KEY}",
    "AIRTALLY_EDGE_CONNECTIONS": "25000",
    "AIRTALLY_EDGE_IN_FLIGHT": "30000",
    # Held to a rate, but to one that a crowd behind a single address does not reach.
    "AIRTALLY_EDGE_ADDRESS_PER_S": "1000000",
    "AIRTALLY_EDGE_ADDRESS_BURST": "1000000",
}


Start = Callable[[LocalStack, Settings], contextlib.AbstractContextManager["Server"]]


@dataclass
class Server:
    """A server that is measured."""

    name: str
    url: str
    pid: int

    def plan(self, **fields: Any) -> Plan:
        """Make a plan against it."""
        return replace(Plan(self.url, POLL, OPTIONS, ENDLESS, 1.0, CONNECTIONS, timeout_s=10.0), **fields)


def arrays() -> dict[str, Any]:
    """Give what a plan of arrays has: their size, and the token of an edge in front."""
    token, _ = Tokens({"bench": TOKEN_KEY}).mint("front-1", 1)
    return {"batch": 100, "token": token}


@contextlib.contextmanager
def ours(stack: LocalStack, found: Settings, *, port: int | None = None) -> Iterator[Server]:
    """Run an edge of ours; with a port given, beside others on the same."""
    share = {} if port is None else {"AIRTALLY_EDGE_SHARE_PORT": "true"}
    port = port or free_port()
    service = worker("edge", found, when_ready=True)
    environment = {**service.env, **ENVIRONMENT, **share, "AIRTALLY_EDGE_PORT": str(port)}
    child = stack.start_service(replace(service, name=f"edge-{uuid.uuid4().hex[:8]}", env=environment))
    try:
        yield Server("airtally", f"http://127.0.0.1:{port}", child.identity.pid)
    finally:
        child.stop()


def node() -> list[Start]:
    """Get the Node.js edge ready, if there is Node.js here."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        console.print("node and npm are not installed: measured without the Node.js edge")
        return []
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=NODE, check=True, timeout=300)
    return [_node_running]


def _node_running(stack: LocalStack, found: Settings) -> contextlib.AbstractContextManager[Server]:
    return _peer(stack, found, "node", ["node", str(NODE / "server.mjs")])


def asgi(name: str) -> Start:
    """Get the start of our work behind a server of ASGI, `uvicorn` or `granian`."""
    return lambda stack, found: _peer(stack, found, name, [sys.executable, "-m", "bench.peers.asgi_edge", name])


def bare(stack: LocalStack, found: Settings) -> contextlib.AbstractContextManager[Server]:
    """Run the least that an edge can do."""
    return _peer(stack, found, "bare", [sys.executable, "-m", "bench.peers.bare_edge"])


@contextlib.contextmanager
def _peer(stack: LocalStack, found: Settings, name: str, command: list[str]) -> Iterator[Server]:
    """Run another edge, on a topic of its own, until the block ends. It says `ready`."""
    port = free_port()
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "AIRTALLY_KAFKA": found.kafka or "",
        "AIRTALLY_TOPIC": f"{found.topic}-peers",
        "AIRTALLY_EDGE_PORT": str(port),
        "PEER_OPTIONS": ",".join(OPTIONS),
        "NODE_ENV": "production",
    }
    log = (stack.folder / f"{name}.log").open("ab")
    with log, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == b"ready", f"{name} did not start: {log.name}"
            yield Server(name, f"http://127.0.0.1:{port}", child.pid)
        finally:
            child.kill()
