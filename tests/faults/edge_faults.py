"""What goes wrong before the log: publishers and senders of markers that die, clocks that are wrong."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from pipeline.domain.record import Marker, PollClosed, PollFinal, PollOpened, encode
from pipeline.local import process
from pipeline.local.parts import Addresses
from pipeline.local.service import Service
from tests.faults.broadcast import Broadcast
from tests.faults.fault import Fault
from tests.faults.publisher import ChildBroadcast
from tests.faults.scene import Scene
from tests.faults.workers import COMMAND
from tests.workers import environment, folded

WAIT_S = 15.0


async def _kill_publisher(scene: Scene) -> None:
    """Kill it while it waits for an acknowledgement."""
    broadcast = scene.broadcast
    assert isinstance(broadcast, ChildBroadcast)
    async with asyncio.timeout(WAIT_S):
        while not broadcast.unacknowledged:
            await asyncio.sleep(0.001)
    await broadcast.kill()


async def _start_publisher(scene: Scene) -> None:
    assert isinstance(scene.broadcast, ChildBroadcast)
    await scene.broadcast.start()


async def _go_astray(scene: Scene) -> None:
    broadcast = scene.broadcast
    assert isinstance(broadcast, Broadcast)
    broadcast.go_astray()
    async with asyncio.timeout(WAIT_S):
        while not any(entry.kind == "astray" for entry in broadcast.journal.entries):
            await asyncio.sleep(0.01)


async def _watch_marker(scene: Scene) -> None:
    """Let the sender of a marker die half way, early in the show of its opening, then of its close, late of its end."""
    meant = PollOpened if scene.place < 0.3 else PollClosed if scene.place < 0.7 else PollFinal
    repeated = scene.notes["repeated"] = asyncio.Event()
    broadcast = scene.broadcast
    assert isinstance(broadcast, Broadcast)
    broadcast.send_marker = _half_way(scene, meant, broadcast.publisher.publish_marker, repeated)


def _half_way(
    scene: Scene, meant: type[Marker], send: Callable[[Marker], Awaitable[object]], repeated: asyncio.Event
) -> Callable[[Marker], Awaitable[None]]:
    async def send_marker(marker: Marker) -> None:
        if not isinstance(marker, meant):
            await send(marker)
            return
        await _send_half(scene, marker)
        await folded(scene.found)
        await _repeat(scene, marker)
        repeated.set()

    return send_marker


async def _send_half(scene: Scene, marker: Marker) -> None:
    """Run a sender that has reached half of the partitions, and kill it."""
    argv = [sys.executable, "-m", "tests.faults.half", encode(marker).decode()]
    launch = Service("marker-sender", argv, env=environment(scene.found)).launch(scene.folder, Addresses())
    child = await asyncio.to_thread(process.start, launch)
    try:
        async with asyncio.timeout(WAIT_S):
            while "half" not in launch.log_file.read_text():
                await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(child.kill)


async def _repeat(scene: Scene, marker: Marker) -> None:
    """Give the command again, as a producer would: it must find out by itself which instant was sent.

    Raises:
        RuntimeError: it says no.
    """
    poll = [marker.show_id, marker.poll_id]
    if isinstance(marker, PollOpened):
        options = ",".join(f"{option.id}={option.label}" for option in marker.options)
        words = ["open", *poll, "--options", options, "--votes-per-voter", str(marker.votes_per_voter)]
    elif isinstance(marker, PollClosed):
        words = ["close", *poll]
    else:
        words = ["final", *poll, "--grace", "0"]
    env = {**os.environ, **environment(scene.found)}
    running = await asyncio.create_subprocess_exec(
        *COMMAND, "poll", *words, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await running.communicate()
    if running.returncode:
        raise RuntimeError(said.decode())


async def _wait_for_repeat(scene: Scene) -> None:
    async with asyncio.timeout(60):
        await scene.notes["repeated"].wait()


FAULTS = (
    Fault(
        name="publisher: killed in mid batch", child=True, inject=_kill_publisher, lasts_s=1.0, heal=_start_publisher
    ),
    Fault(name="marker sender: killed half way", prepare=_watch_marker, inject=_wait_for_repeat),
    Fault(name="edge: clock wrong by an hour", inject=_go_astray),
)
