"""The health page of a service: `/healthz` (alive), `/readyz` (caught up, its parts reachable), `/metrics`."""

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline import metrics
from pipeline.errors import PortInUseError


class Health:
    """What keeps a service from being ready, by topic: a part that is away, a partition that lags."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.problems: dict[str, str] = {"start": "not started yet"}

    def set(self, about: str, problem: str | None) -> None:
        """Note a problem, or that there is none."""
        if problem is None:
            self.problems.pop(about, None)
        else:
            self.problems[about] = problem
        metrics.READY.set(not self.problems)


async def serve(health: Health, host: str, port: int) -> web.AppRunner:
    """Answer on a port until the runner is cleaned up. Port 0 takes any free one: ``runner.addresses`` has it.

    Raises:
        PortInUseError: somebody else listens there.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return _json({"service": health.service, "alive": True}, 200)

    async def readyz(_request: web.Request) -> web.Response:
        problems = dict(health.problems)
        return _json({"service": health.service, "ready": not problems, "problems": problems}, 503 if problems else 200)

    async def metricz(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metricz)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise PortInUseError(
            f"{host}:{port} cannot be listened on ({error.strerror}): set AIRTALLY_HEALTH_PORT to a free port, or to 0"
        ) from error
    return runner


def _json(content: dict[str, object], status: int) -> web.Response:
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")
