"""Who is measured: each peer's name, its guarantee, its versions, and how it is run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.install import classpath_of, python_with
from pipeline.local import kafka_jars

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Command:
    """What to run, and what to add to its environment."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One that is measured. `command` installs it if need be, and raises ``NotInstalledError`` if it cannot."""

    name: str
    title: str
    guarantee: str  # as configured here; into Redis
    command: Callable[[], Command]
    workers: int = 1  # processes
    dedupes: bool = True  # a floor does not: its sum is checked, there are no cells to check
    slow: bool = False  # gets the short log: its rate does not depend on the length, and the others wait


def _python(name: str, module: str, *requirements: str) -> Callable[[], Command]:
    def command() -> Command:
        python = python_with(name, requirements)
        return Command([python, "-m", f"bench.peers.{module}"], {"PYTHONPATH": str(REPOSITORY)})

    return command


def _java(module: str, main: str, parallelism: int, **env: str) -> Callable[[], Command]:
    def command() -> Command:
        opens = ("java.base/java.lang", "java.base/java.util", "java.base/java.time", "java.base/java.nio")
        argv = [
            kafka_jars.java(),
            *("-Xms1g", "-Xmx6g", "-XX:+UseParallelGC"),
            *[f"--add-opens={package}=ALL-UNNAMED" for package in opens],
            *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath_of(module), f"airtally.peers.{main}"),
        ]
        return Command(argv, {"PEER_PARALLELISM": str(parallelism), **env})

    return command


def _airtally() -> Command:
    return Command([sys.executable, "-m", "pipeline.cli", "tally"])


_SHARED = ("msgspec==0.22.0", "redis[hiredis]==8.1.0")  # to parse and to write the result

_FLINK = (
    "exactly-once state (checkpoint each second); Redis overwritten with absolute numbers, may run back after a crash"
)
_STREAMS = "exactly_once_v2 state; Redis overwritten with absolute numbers, may run back after a crash"
_QUIX = "exactly-once state and changelog (commit each second); Redis incremented at least once"
_BYTEWAX = "exactly-once state (snapshot each second); Redis incremented at least once"
_FAUST = "at least once: changelog and offsets are not one step"
_FLOOR = "none: parse and count only, no dedupe, no limits"

PEERS = (
    Peer("airtally", "Airtally, 1 worker", "exactly-once into Redis, never back", _airtally),
    Peer("airtally-2", "Airtally, 2 workers", "exactly-once into Redis, never back", _airtally, workers=2),
    Peer("flink-1", "Apache Flink 2.2.1, parallelism 1", _FLINK, _java("flink", "FlinkTally", 1)),
    Peer(
        "flink-1-chained",
        "Apache Flink 2.2.1, parallelism 1, experimental chain",
        _FLINK,
        _java("flink", "FlinkTally", 1, PEER_CHAINED="1"),
    ),
    Peer("flink-2", "Apache Flink 2.2.1, parallelism 2", _FLINK, _java("flink", "FlinkTally", 2)),
    Peer(
        "streams-memory",
        "Kafka Streams 4.1.2, in-memory stores, 2 threads",
        _STREAMS,
        _java("kafka-streams", "StreamsTally", 2, PEER_STORE="memory"),
    ),
    Peer(
        "streams-rocksdb",
        "Kafka Streams 4.1.2, RocksDB stores, 2 threads",
        _STREAMS,
        _java("kafka-streams", "StreamsTally", 2, PEER_STORE="rocksdb"),
    ),
    Peer("quix", "Quix Streams 3.28.1, RocksDB state", _QUIX, _python("quix", "quix", "quixstreams==3.28.1", *_SHARED)),
    Peer(
        "bytewax",
        "Bytewax 0.21.1, recovery on",
        _BYTEWAX,
        _python("bytewax", "bytewax_flow", "bytewax==0.21.1", "confluent-kafka==2.16.1", *_SHARED),
    ),
    Peer(
        "faust",
        "stock Faust 0.15.3, tables with changelog",
        _FAUST,
        _python("faust", "stock_faust", "faust-streaming==0.15.3", "aiokafka==0.14.0", "cramjam==2.14.0", *_SHARED),
        slow=True,
    ),
    Peer(
        "floor-aiokafka",
        "floor: raw aiokafka 0.14.0, msgspec",
        _FLOOR,
        _python("floor-aiokafka", "floor_aiokafka", "aiokafka==0.14.0", "cramjam==2.14.0", "uvloop==0.23.0", *_SHARED),
        dedupes=False,
    ),
    Peer(
        "floor-confluent",
        "floor: raw confluent-kafka 2.16.1 (C), msgspec",
        _FLOOR,
        _python("floor-confluent", "floor_confluent", "confluent-kafka==2.16.1", *_SHARED),
        dedupes=False,
    ),
)
