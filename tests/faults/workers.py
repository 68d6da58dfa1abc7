"""Worker processes of a trial: started, killed, stopped and resumed by it, and asked whether they are ready."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UnavailableError
from pipeline.local import process
from pipeline.local.clickhouse import require_ok
from pipeline.local.parts import Addresses
from pipeline.local.ports import free_port
from pipeline.local.process import Child, Launch
from pipeline.local.service import Service
from pipeline.settings import Settings
from tests.workers import environment

_numbers = itertools.count(1)

COMMAND = (sys.executable, "-m", "pipeline.cli")


def stand_in(name: str) -> tuple[str, ...]:
    """Give the command of a worker of ``tests.faults.controls``."""
    return (sys.executable, "-m", "tests.faults.controls", name)


@dataclass
class Worker:
    """One tally or archive worker, or an edge."""

    service: str
    child: Child
    ready_url: str
    name: str | None = None  # of a static member of its group
    killed: bool = False  # by the trial: one that ends otherwise has failed

    @property
    def alive(self) -> bool:
        """Whether it runs, or is stopped."""
        return self.child.alive

    async def kill(self) -> None:
        """End it as a crash would."""
        self.killed = True
        await asyncio.to_thread(self.child.kill)

    async def leave(self) -> None:
        """Ask it to end, and wait until it has."""
        self.killed = True
        await asyncio.to_thread(self.child.stop)

    async def drain(self, within_s: float) -> int | None:
        """Ask it to end as a supervisor does; give its exit status, or None if it has not ended in time."""
        self.killed = True
        os.kill(self.child.identity.pid, signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.child._guard.wait, within_s)  # which ends as its program does
        except subprocess.TimeoutExpired:
            return None

    def freeze(self) -> None:
        """Stop it in whatever it does; nobody is told."""
        os.kill(self.child.identity.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if no time had passed."""
        os.kill(self.child.identity.pid, signal.SIGCONT)

    def log_tail(self) -> str:
        """Give the end of its log."""
        return process.tail(self.child.launch.log_file)

    async def is_ready(self) -> bool:
        """Ask its /readyz."""
        try:
            await asyncio.to_thread(require_ok, self.ready_url, self.service)
        except UnavailableError:
            return False
        return True


async def start_worker(
    found: Settings,
    folder: Path,
    service: str,
    argv: tuple[str, ...] | None = None,
    *,
    name: str | None = None,
    more: Mapping[str, str] | None = None,
) -> Worker:
    """Start a worker and wait until it is ready; `name` makes it a static member of its group, `more` is for its environment.

    Raises:
        UnavailableError: it does not come up.
    """
    port = free_port()
    env = {**environment(found), "AIRTALLY_HEALTH_PORT": str(port), **(more or {})}
    if name is not None:
        env["AIRTALLY_INSTANCE_ID"] = name
    url = f"http://127.0.0.1:{port}/readyz"
    wanted = Service(f"{service}-{next(_numbers)}", argv or (*COMMAND, service), ready_url=url, env=env)
    child = await asyncio.to_thread(_started, wanted.launch(folder, Addresses()))
    return Worker(service, child, url, name)


def _started(launch: Launch) -> Child:
    child = process.start(launch)
    try:
        process.wait_ready(child)
    except BaseException:
        child.kill()
        raise
    return child
