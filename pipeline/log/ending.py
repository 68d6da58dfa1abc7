"""The end of a process that has nothing to go on for, and does not come to its end by itself.

A worker that has crashed holds its partitions until it is gone. Its stop waits for consumer, agents and their tasks, each of
which may be waiting for what has crashed: seen once, in a rebalance. All that it leaves half done is done again by others.
"""

import asyncio
import faulthandler
import os
import sys
import threading

import structlog

STOPPED_WITHIN_S = 20.0  # a stop takes some tenths of a second, a few seconds if Kafka is away

log = structlog.get_logger(__name__)


def end_within(seconds: float, reason: BaseException) -> threading.Timer:
    """End this process after some seconds, with exit code 1, unless the timer is cancelled: say why, and what it waited for."""
    timer = threading.Timer(seconds, _end, [reason, asyncio.get_running_loop()])
    timer.daemon = True
    timer.start()
    return timer


def _end(reason: BaseException, loop: asyncio.AbstractEventLoop) -> None:
    waiting = [repr(task) for task in asyncio.all_tasks(loop)]
    log.error("the worker does not stop, and is ended", reason=str(reason), tasks=waiting)
    faulthandler.dump_traceback()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
