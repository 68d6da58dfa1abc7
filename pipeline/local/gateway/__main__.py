"""Command line of the gateway: see the package's docstring."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from pipeline.local.gateway.body import PIECE_BYTES
from pipeline.local.gateway.engine import Engine
from pipeline.local.gateway.server import Gateway

log = logging.getLogger("gateway")

_IN_FLIGHT_S = 20.0  # for what is being done when SIGTERM comes


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit status 1: the folder or the port cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.local.gateway", description="ClickHouse's HTTP over chDB."
    )
    parser.add_argument("--path", type=Path, required=True, help="data folder; made if it is not there")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="there are no users and passwords: keep it on the loopback")
    parser.add_argument("--memory-mb", type=int, default=4096, help="the engine refuses queries beyond it")
    parser.add_argument("--workers", type=int, default=32, help="requests served at a time; others wait")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    arguments.path.mkdir(parents=True, exist_ok=True)
    try:
        engine = Engine(arguments.path.resolve(), memory_bytes=arguments.memory_mb << 20)
    except RuntimeError as error:
        log.error("cannot open %s: %s", arguments.path, error)  # noqa: TRY400 - the engine's text says it all
        return 1
    log.info("ClickHouse engine %s on %s", engine.version, arguments.path)
    try:
        return asyncio.run(_serve(Gateway(engine, workers=arguments.workers), arguments.host, arguments.port))
    finally:
        engine.close()


async def _serve(gateway: Gateway, host: str, port: int) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(
        gateway.application(),
        access_log=None,
        shutdown_timeout=_IN_FLIGHT_S,
        auto_decompress=False,  # a worker thread does it
        read_bufsize=PIECE_BYTES,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        log.error("cannot listen: %s", error)  # noqa: TRY400
        return 1
    log.info("serving on http://%s:%d", host, port)
    await stopping.wait()
    log.info("stopping: no new requests, what is in flight is finished")
    await runner.cleanup()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a worker that still waits for the engine, or for a client that is gone, must not keep the process.
    os._exit(status)
