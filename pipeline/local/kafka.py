"""A real Apache Kafka node in KRaft mode: broker and controller in one process, on the loopback interface.

One node is the local system. Several make a cluster: give each the same ``cluster_id`` and the same ``voters``, and set
the replication factors of Kafka's own topics with ``properties``.
"""

import base64
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError, UnavailableError
from pipeline.local import kafka_jars, kafka_wire
from pipeline.local.ports import LOOPBACK
from pipeline.local.process import Launch

NAME = "Kafka"
STANDARD_PORT = 9092
STANDARD_CONTROLLER_PORT = 9093
_FORMAT_S = 60

# One machine, one copy of everything, and no waiting for company. What a deployment must choose otherwise, it can:
# `properties` wins over these.
_DEFAULTS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",  # a mistyped topic must be an error, not a new topic with wrong settings
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",  # one coordinator to wait for, instead of fifty logs to create
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A node started again is let in when its former self is given up, also after a clean stop: 9 s by default.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "8388608",  # of 128 MB: only Kafka's own small topics are compacted here
}


@dataclass(frozen=True)
class Node:
    """A member of the cluster, by its number and its two ports."""

    port: int
    controller_port: int
    node_id: int = 1

    @property
    def address(self) -> str:
        """What clients call the bootstrap server."""
        return f"{LOOPBACK}:{self.port}"


def new_cluster_id() -> str:
    """A random id in the form that Kafka wants: 22 characters of base64 that do not look like an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")


def launch(  # noqa: PLR0913 - a broker has this many things to choose
    folder: Path,
    node: Node,
    *,
    voters: Sequence[Node] = (),
    cluster_id: str | None = None,
    properties: Mapping[str, str] | None = None,
    heap_mb: int = 768,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Launch:
    """A node with its data in ``folder``, which is formatted if it is new.

    ``voters`` are the controllers of the cluster, none if this node is alone; a new folder takes ``cluster_id``, the
    same on all nodes; ``properties`` win over the defaults here; ``on_progress`` is told when something takes longer.

    Raises:
        ConfigurationError: the folder's path has a comma.
        MissingToolError: Java, or Maven at the first time, is not installed.
        UnavailableError: the jars cannot be fetched, or the folder cannot be formatted.
    """
    java = kafka_jars.java()
    classpath = f"{kafka_jars.jars(on_progress)}/*"
    folder.mkdir(parents=True, exist_ok=True)
    data = folder.resolve() / "data"
    if "," in str(data):
        raise ConfigurationError(
            f"Kafka cannot keep its data in {data}: it takes what is behind a comma for another folder"
        )
    settings = folder / "server.properties"
    settings.write_text(_properties(node, voters or (node,), data, properties or {}))
    if not (data / "meta.properties").is_file():
        _format([java, "-Xmx128m", "-cp", classpath], settings, cluster_id or new_cluster_id())
    argv = [
        *(java, f"-Xmx{heap_mb}m", f"-Xms{min(256, heap_mb)}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"),
        *("-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"),  # as Kafka's own script starts it
        *("-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
        *("-cp", classpath, "kafka.Kafka", str(settings.resolve())),
    ]
    return Launch(
        NAME, argv, folder / "kafka.log", lambda: kafka_wire.answers(node.address), dict(os.environ), grace_s=30.0
    )


def _properties(node: Node, voters: Sequence[Node], data: Path, wanted: Mapping[str, str]) -> str:
    """The text of ``server.properties``."""
    client, controller = f"{LOOPBACK}:{node.port}", f"{LOOPBACK}:{node.controller_port}"
    own = {
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{v.node_id}@{LOOPBACK}:{v.controller_port}" for v in voters),
        "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{client}",
        "log.dirs": str(data),
    }
    # Java reads Latin-1 with escapes, which are those of JSON.
    return "".join(f"{key}={json.dumps(value)[1:-1]}\n" for key, value in {**_DEFAULTS, **own, **wanted}.items())


def _format(java: list[str], settings: Path, cluster_id: str) -> None:
    """Write the node's identity into its empty data folder, with Kafka's own tool."""
    command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"Kafka's data folder was not formatted within {_FORMAT_S} s") from error
    if done.returncode != 0:
        raise UnavailableError(f"Kafka's data folder cannot be formatted.\n{(done.stdout + done.stderr)[-2_000:]}")
