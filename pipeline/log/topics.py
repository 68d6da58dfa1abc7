"""The topic `votes`: made with the settings that exact counting needs, and checked for them at every start."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from pipeline.errors import TopicMismatchError
from pipeline.log.connection import client_options, unavailable_if_down
from pipeline.settings import Settings

TOPIC_ALREADY_EXISTS, TOO_FEW_BROKERS = 36, 38
UNKNOWN_TOPIC = 3


@dataclass(frozen=True)
class TopicShape:
    """What a topic is like: as we want it, or as it was found."""

    partitions: int
    replication: int  # of the partition that has the fewest replicas
    config: Mapping[str, str]


def wanted(settings: Settings) -> TopicShape:
    """Give the shape that the settings ask for.

    Append time makes arrival the broker's word, the same at each replay. Without compaction and transactions offsets are
    dense, so that loss and doubling show as arithmetic. 2 MiB leaves room for a bad record to be archived and named.
    """
    return TopicShape(
        settings.partitions,
        settings.replication,
        {
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": "delete",
            "retention.ms": str(settings.retention_ms),
            "min.insync.replicas": str(settings.min_insync),
            "max.message.bytes": str(2 << 20),
            "unclean.leader.election.enable": "false",
        },
    )


SEEN_WITHIN_S = 10.0  # by a broker, after Kafka has decided
LOOK_EVERY_S = 0.05

# A topic with another value of these would be counted wrongly, with fewer replicas lose votes that were acknowledged; the rest
# is the operator's to choose.
_ESSENTIAL = ("message.timestamp.type", "cleanup.policy", "unclean.leader.election.enable")
_IN_SYNC = "min.insync.replicas"


def differences(settings: Settings, found: TopicShape) -> list[str]:
    """Say in what a topic differs from what it must be, each with its remedy."""
    shape, topic = wanted(settings), settings.topic
    lines = []
    if found.partitions != shape.partitions:
        lines.append(
            f"it has {found.partitions} partitions, AIRTALLY_PARTITIONS is {shape.partitions}: the count is fixed when the "
            f"topic is made (votes of one voter must stay in one partition). Set AIRTALLY_PARTITIONS={found.partitions}"
        )
    if found.replication < shape.replication:
        lines.append(
            f"a partition has {found.replication} replicas, AIRTALLY_REPLICATION is {shape.replication}: votes that were "
            "acknowledged would go with their brokers. Add replicas (kafka-reassign-partitions.sh), or set "
            f"AIRTALLY_REPLICATION={found.replication}"
        )
    for name in _ESSENTIAL:
        value = found.config.get(name)
        if value is not None and value != shape.config[name]:
            lines.append(
                f"{name} is {value}, it must be {shape.config[name]}: {_altering(topic, name, shape.config[name])}"
                + (" (and start with a new topic if records were written meanwhile)" if name != _ESSENTIAL[2] else "")
            )
    in_sync = found.config.get(_IN_SYNC)
    if in_sync is not None and int(in_sync) < settings.min_insync:
        lines.append(
            f"{_IN_SYNC} is {in_sync}, AIRTALLY_MIN_INSYNC is {settings.min_insync}: so few may have what is acknowledged. "
            f"{_altering(topic, _IN_SYNC, shape.config[_IN_SYNC])}, or set AIRTALLY_MIN_INSYNC={in_sync}"
        )
    return lines


def _altering(topic: str, name: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"


class Topics:
    """Makes and looks at topics."""

    def __init__(self, admin: AIOKafkaAdminClient, settings: Settings) -> None:
        self._admin = admin
        self._settings = settings

    async def create(self) -> bool:
        """Make the topic, and wait until it can be seen; False: it was there."""
        settings, shape = self._settings, wanted(self._settings)
        new = NewTopic(settings.topic, shape.partitions, settings.replication, topic_configs=dict(shape.config))
        with unavailable_if_down():
            await self._until_there_is_a_controller()
            response = await self._admin.create_topics([new])
        (_topic, code, *text) = response.topic_errors[0]
        if code not in (0, TOPIC_ALREADY_EXISTS):
            remedy = "; AIRTALLY_REPLICATION must not exceed the number of brokers" if code == TOO_FEW_BROKERS else ""
            raise TopicMismatchError(
                f"topic {settings.topic} cannot be made: {for_code(code).__name__} {text[0] if text else ''}{remedy}"
            )
        is_new = bool(code == 0)
        if is_new:  # Kafka has decided; brokers hear of it a moment later
            with unavailable_if_down():
                async with asyncio.timeout(SEEN_WITHIN_S):
                    while await self.find() is None:  # noqa: ASYNC110  # Kafka tells nobody
                        await asyncio.sleep(LOOK_EVERY_S)
        return is_new

    async def _until_there_is_a_controller(self) -> None:
        client = self._admin._client  # noqa: SLF001  # aiokafka is pinned; without a controller it raises AttributeError
        async with asyncio.timeout(SEEN_WITHIN_S):
            await client.force_metadata_update()
            while client.cluster.controller is None:
                await asyncio.sleep(LOOK_EVERY_S)
                await client.force_metadata_update()

    async def find(self) -> TopicShape | None:
        """Look at the topic; None: there is none.

        Raises:
            TopicMismatchError: Kafka does not let us look at how it is configured.
        """
        name = self._settings.topic
        with unavailable_if_down():
            if name not in await self._admin.list_topics():
                return None  # to ask for it by name would make it, with other settings, where brokers make topics by themselves
            (description,) = await self._admin.describe_topics([name])
            if description["error_code"] == UNKNOWN_TOPIC:
                return None
            answers = await self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        resources = [resource for answer in answers for resource in answer.resources]
        for code, *_ in resources:
            if code == UNKNOWN_TOPIC:  # a broker that has not heard of it yet
                return None
            if code:
                raise TopicMismatchError(
                    f"Kafka does not tell how topic {name} is configured ({for_code(code).__name__}), so nobody knows whether "
                    f"it can be counted exactly: kafka-acls.sh --add --topic {name} --operation DescribeConfigs "
                    f"--allow-principal User:{self._settings.kafka_user or 'ANONYMOUS'}"
                )
        partitions = description["partitions"]
        return TopicShape(
            len(partitions),
            min((len(each["replicas"]) for each in partitions), default=0),
            {name: value for *_, entries in resources for name, value, *_ in entries},
        )

    async def check(self) -> None:
        """Make sure that the topic can be counted exactly.

        Raises:
            TopicMismatchError: it does not exist, or differs; the text says in what, and what to do.
        """
        found, topic = await self.find(), self._settings.topic
        if found is None:
            raise TopicMismatchError(f"topic {topic} does not exist: make it by `airtally init`")
        lines = differences(self._settings, found)
        if lines:
            raise TopicMismatchError(f"topic {topic} is not as it must be: " + "; ".join(lines))


@asynccontextmanager
async def open_topics(settings: Settings) -> AsyncIterator[Topics]:
    """Connect for administration.

    Raises:
        UnavailableError: Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=10_000)
    try:
        with unavailable_if_down():
            await admin.start()
        yield Topics(admin, settings)
    finally:
        await admin.close()


async def check_topic(settings: Settings) -> None:
    """Make sure that the topic is as the settings say, before anything is read of it or sent to it.

    Raises:
        TopicMismatchError: see ``Topics.check``.
        UnavailableError: Kafka does not answer.
    """
    async with open_topics(settings) as topics:
        await topics.check()
