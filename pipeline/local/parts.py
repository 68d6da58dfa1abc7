"""The three parts of the local system, and their addresses."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pipeline.local import clickhouse, kafka, kafka_jars, redis
from pipeline.local.ports import free_port, require_free
from pipeline.local.process import Launch


class Part(StrEnum):
    """A server that Airtally can start by itself."""

    KAFKA = "kafka"
    REDIS = "redis"
    CLICKHOUSE = "clickhouse"

    @property
    def label(self) -> str:
        """How people write it."""
        return _TITLES[self]


_TITLES = {Part.KAFKA: kafka.NAME, Part.REDIS: redis.NAME, Part.CLICKHOUSE: clickhouse.NAME}

ALL_PARTS = frozenset(Part)

STANDARD_PORTS: Mapping[Part, int] = {
    Part.KAFKA: kafka.STANDARD_PORT,
    Part.REDIS: redis.STANDARD_PORT,
    Part.CLICKHOUSE: clickhouse.STANDARD_PORT,
}


@dataclass(frozen=True)
class Addresses:
    """Where the parts are, in the form of the settings of the same names. Empty: not part of this system."""

    kafka: str = ""
    redis_url: str = ""
    clickhouse_url: str = ""

    @classmethod
    def by_part(cls, addresses: Mapping[Part, str]) -> "Addresses":
        """From a mapping; a part that is not in it is not part of the system."""
        return cls(*(addresses.get(part, "") for part in (Part.KAFKA, Part.REDIS, Part.CLICKHOUSE)))

    def of(self, part: Part) -> str:
        """The address of one part."""
        return {Part.KAFKA: self.kafka, Part.REDIS: self.redis_url, Part.CLICKHOUSE: self.clickhouse_url}[part]

    def environment(self) -> dict[str, str]:
        """What a service must find in its environment to use these parts."""
        names = {
            "AIRTALLY_KAFKA": self.kafka,
            "AIRTALLY_REDIS_URL": self.redis_url,
            "AIRTALLY_CLICKHOUSE_URL": self.clickhouse_url,
        }
        return {name: address for name, address in names.items() if address}


@dataclass(frozen=True)
class Options:
    """What can be chosen about the parts."""

    redis_appendonly: bool = False  # Redis keeps its data over a restart
    kafka_properties: Mapping[str, str] | None = None  # broker settings that win over our own


@dataclass(frozen=True)
class Plan:
    """How to start a part. ``launch`` may take a while (it fetches and formats) and raises what that can raise."""

    address: str
    launch: Callable[[], Launch]
    version: Callable[[], str]


def choose(  # noqa: PLR0913, PLR0917 - everything that decides about addresses
    folder: Path,
    parts: Iterable[Part],
    given: Addresses,
    ports: Mapping[Part, int],
    options: Options,
    on_progress: Callable[[str], None],
) -> tuple[Addresses, dict[Part, Plan]]:
    """Each part's address: the given one, else on the given port, else on a free one; and plans for all but the first.

    Raises:
        PortInUseError: a port that was asked for is taken.
    """
    addresses = {part: given.of(part) for part in parts}
    plans: dict[Part, Plan] = {}
    for part, address in addresses.items():
        if not address:
            port = require_free(ports[part], part.label) if ports.get(part) else free_port()
            plans[part] = _plan(part, folder / part, port, options, on_progress)
    own = {part: plan.address for part, plan in plans.items()}
    return Addresses.by_part({**addresses, **own}), plans


def _plan(part: Part, folder: Path, port: int, options: Options, on_progress: Callable[[str], None]) -> Plan:
    if part is Part.KAFKA:
        node = kafka.Node(port, free_port())

        def kafka_launch() -> Launch:
            launch = kafka.launch(folder, node, properties=options.kafka_properties, on_progress=on_progress)
            return replace(launch, name=part)

        return Plan(node.address, kafka_launch, lambda: kafka_jars.KAFKA_VERSION)
    if part is Part.REDIS:
        return Plan(
            redis.url(port),
            lambda: replace(redis.launch(folder, port, appendonly=options.redis_appendonly), name=part),
            lambda: redis.version(redis.server_binary()),
        )
    return Plan(clickhouse.url(port), lambda: replace(clickhouse.launch(folder, port), name=part), clickhouse.version)
