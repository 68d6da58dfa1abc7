"""The health page of a service: `/healthz` (alive), `/readyz` (caught up, its parts reachable), `/metrics`."""

import copy

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline import metrics
from pipeline.errors import PortInUseError


class Health:
    """What keeps a service from being ready, by topic: a part that is away, a partition that lags."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._problems: dict[tuple[str, int | None], str] = {("start", None): "not started yet"}
        self._partition: int | None = None  # that speaks; None: the service as a whole

    @property
    def problems(self) -> dict[str, str]:
        """One problem of each topic that has any."""
        return {about: problem for (about, _), problem in self._problems.items()}

    def of(self, partition: int) -> "Health":
        """Give the same health for one partition to speak of: that it is well itself does not make others so."""
        part = copy.copy(self)
        part._partition = partition  # noqa: SLF001  # its own class
        return part

    def set(self, about: str, problem: str | None) -> None:
        """Note a problem, or that there is none."""
        if problem is None:
            self._problems.pop((about, self._partition), None)
        else:
            self._problems[about, self._partition] = problem
        metrics.READY.set(not self._problems)


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
