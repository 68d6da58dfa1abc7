"""A small disk for ClickHouse, that a fault can fill: a file system in memory, which only root can mount."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from pipeline.archive.connection import connect
from pipeline.settings import Settings
from tests.faults.servers import Servers

SIZE_MB = 256


@contextlib.asynccontextmanager
async def small(servers: Servers, folder: Path) -> AsyncIterator[None]:
    """Run ClickHouse on a small disk until the block ends.

    Raises:
        OSError: none can be mounted here.
    """
    await asyncio.to_thread(_mount, folder)
    try:
        await servers.renew_clickhouse(folder / "clickhouse")
        yield
    finally:
        await servers.renew_clickhouse(servers.folder / "clickhouse")
        await asyncio.to_thread(subprocess.run, ["umount", "--lazy", str(folder)], check=True)


def _mount(folder: Path) -> None:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        raise OSError("a small disk needs root, and `mount`")
    folder.mkdir()
    command = [mount, "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"no small disk can be mounted: {done.stderr.strip()}")


def fill(folder: Path) -> Path:
    """Take all room that is left; give the file that has it."""
    filler = folder / "filler"
    piece = bytes(1 << 20)
    with filler.open("wb", buffering=0) as file:
        for size in (len(piece), 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(piece[:size]) == size:
                    pass
    return filler


async def query(found: Settings, sql: str) -> None:
    """Run a statement in ClickHouse, straight."""

    def run() -> None:
        client = connect(found)
        try:
            client.command(sql)
        finally:
            client.close()

    await asyncio.to_thread(run)
