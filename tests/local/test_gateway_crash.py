"""All rows of an insert or none: whoever dies in the middle of it."""

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError

from pipeline.local.stack import LocalStack, Part

from .conftest import Eventually, OrSkip, connect

pytestmark = pytest.mark.real

ROWS = 200_000
INSERT = "INSERT INTO t FORMAT TSV"


@pytest.fixture
def stack(folder: Path, or_skip: OrSkip) -> Iterator[LocalStack]:
    """A gateway that the test may kill, with a table."""
    stack = LocalStack(folder, {Part.CLICKHOUSE})
    with or_skip():
        stack.start()
    with _client(stack) as client:
        client.command(
            "CREATE TABLE t (n UInt64, value String, hash UInt64 MATERIALIZED sipHash64(value)) ENGINE = MergeTree "
            "ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
        )
    yield stack
    stack.stop()


def _port(stack: LocalStack) -> int:
    return int(stack.addresses.clickhouse_url.rpartition(":")[2])


def _client(stack: LocalStack) -> AbstractContextManager[Client]:
    return connect(_port(stack), compress=False, query_retries=0)


def _count(stack: LocalStack) -> int:
    with _client(stack) as client:
        (count,) = client.query("SELECT count() FROM t").first_row
        return int(count)


def _lines(first: int, count: int) -> bytes:
    return b"".join(b"%d\tvalue-%d\n" % (number, number) for number in range(first, first + count))


def _insert(stack: LocalStack, block: int, *, token: str) -> None:
    with _client(stack) as client:
        settings = {"insert_deduplication_token": token}
        client.raw_insert("t", insert_block=_lines(block * ROWS, ROWS), fmt="TSV", settings=settings)


def test_kill_9_in_the_middle_of_an_insert_leaves_all_of_it_or_nothing(stack: LocalStack) -> None:
    """Blocks 0, 1, 2... go in one by one; three times the gateway is killed at some moment, and started again.

    A sender whose insert got no answer must look before it sends again. ClickHouse (the server too: it is its
    MergeTreeSink::commitPart) writes a token down a moment before the rows become visible: killed between the two, it
    knows the token and has not the rows, and a retry with the same token is answered with success and dropped.
    """
    block = 0
    for delay_s in (0.05, 0.12, 0.2):
        block += _insert_until_killed(stack, block, delay_s)
        stack.restart(Part.CLICKHOUSE)
        count = _count(stack)
        assert count in {block * ROWS, (block + 1) * ROWS}, "a part of a block is there"
        there = count == (block + 1) * ROWS
        _insert(stack, block, token=f"block-{block}" if there else f"block-{block}-again")
        block += 1
        assert _count(stack) == block * ROWS


def _insert_until_killed(stack: LocalStack, block: int, delay_s: float) -> int:
    """How many inserts were acknowledged before the kill."""
    killer = threading.Timer(delay_s, stack.children[Part.CLICKHOUSE].kill)
    killer.start()
    for acknowledged in range(1_000):
        try:
            _insert(stack, block + acknowledged, token=f"block-{block + acknowledged}")
        except OperationalError:
            killer.join()
            return acknowledged
    raise AssertionError("it was never killed")


def test_a_client_that_goes_away_in_the_middle_leaves_no_row(stack: LocalStack, eventually: Eventually) -> None:
    port = _port(stack)
    data = _lines(0, ROWS)
    for length in (f"Content-Length: {len(data)}", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /?query={quote(INSERT)} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"
            size = b"" if length.startswith("Content") else b"%x\r\n" % len(data)
            connection.sendall(head.encode() + size + data[: len(data) // 2])
            time.sleep(0.3)  # the engine has read some of it by now
    log = stack.folder / "clickhouse" / "clickhouse.log"
    eventually(lambda: log.read_text().count("a client went away") == 2)
    assert _count(stack) == 0


def test_sigterm_lets_what_is_in_flight_finish(stack: LocalStack, eventually: Eventually) -> None:
    port = _port(stack)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", f"/?query={quote('SELECT sleep(1)')}")
    time.sleep(0.3)
    process = stack.children[Part.CLICKHOUSE].identity.process()
    assert process is not None
    process.send_signal(signal.SIGTERM)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"0\n")
    connection.close()
    eventually(lambda: not stack.children[Part.CLICKHOUSE].alive)
    log = (stack.folder / "clickhouse" / "clickhouse.log").read_text()
    assert "stopped" in log
