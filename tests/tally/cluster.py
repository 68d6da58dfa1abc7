"""A Redis Cluster of three primaries, on this machine."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from redis import Redis

from pipeline.errors import UnavailableError
from pipeline.local.ports import LOOPBACK, free_port
from pipeline.local.process import Child, start, wait_ready
from pipeline.local.redis import launch

SLOTS = 16_384
PRIMARIES = 3
WAIT_S = 30.0


@contextlib.contextmanager
def redis_cluster(folder: Path) -> Iterator[list[int]]:
    """Run a cluster until the block ends; give the ports of its primaries."""
    ports = [_port() for _ in range(PRIMARIES)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.callback(_start(folder / str(port), port).stop)
        nodes = [stack.enter_context(Redis(port=port)) for port in ports]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.execute_command(
                "CLUSTER ADDSLOTS", *range(number * SLOTS // PRIMARIES, (number + 1) * SLOTS // PRIMARIES)
            )
            node.execute_command("CLUSTER MEET", LOOPBACK, ports[0])
        deadline = time.monotonic() + WAIT_S
        while not all(_is_whole(node) for node in nodes):
            if time.monotonic() > deadline:
                raise UnavailableError("the cluster did not come together")
            time.sleep(0.1)
        yield ports


def _port() -> int:
    """Find a port whose neighbour for the cluster's own talk exists."""
    while (port := free_port()) + 10_000 >= 1 << 16:
        pass
    return port


def _start(folder: Path, port: int) -> Child:
    plain = launch(folder, port)
    argv = [*plain.argv, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]
    child = start(replace(plain, argv=argv))
    wait_ready(child)
    return child


def _is_whole(node: "Redis") -> bool:
    info = node.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
    return str(info["cluster_state"]) == "ok" and int(info["cluster_known_nodes"]) == PRIMARIES
