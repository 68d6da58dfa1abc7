"""Ordinary clients on the gateway, unchanged and several at once."""

import asyncio
import gzip
import http.client
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import cramjam
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from .conftest import connect

pytestmark = pytest.mark.real

BYTES = [b"", b"\0", b"\xff\xfe", "Grüße".encode(), b"'\\\n\t", bytes(range(256))]


@pytest.fixture
def table(client: Client, request: pytest.FixtureRequest) -> str:
    """A table of the test's own, which ignores a block that it has had before."""
    name = f"`{request.node.name}`"
    client.command(
        f"CREATE TABLE {name} (n UInt64, value String) ENGINE = MergeTree ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    return name


def _ask(port: int, method: str, sql: str = "", *, path: str = "/", body: bytes = b"", **parameters: str) -> Any:
    query = urlencode({"query": sql, **parameters} if sql else parameters)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, f"{path}?{query}" if query else path, body=body or None)
        answer = connection.getresponse()
        with answer:
            answer.body = answer.read()  # type: ignore[attr-defined]
    return answer


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", True])
def test_bytes_come_back_as_they_went_in(port: int, table: str, *, compress: bool | str) -> None:
    with connect(port, compress=compress) as client:
        rows = [[number, value] for number, value in enumerate(BYTES)]
        summary = client.insert(table, rows, column_names=["n", "value"])
        assert summary.written_rows == len(BYTES)
        result = client.query(f"SELECT n, value FROM {table} ORDER BY n", query_formats={"String": "bytes"})
        assert [list(row) for row in result.result_rows] == rows


def test_arrow_goes_in_and_comes_out(client: Client, table: str) -> None:
    rows = pa.table({"n": pa.array(range(len(BYTES)), pa.uint64()), "value": pa.array(BYTES, pa.binary())})
    client.insert_arrow(table, rows)
    settings = {"output_format_arrow_string_as_string": 0}
    assert client.query_arrow(f"SELECT * FROM {table} ORDER BY n", settings=settings).to_pydict() == rows.to_pydict()


def test_an_insert_in_several_native_blocks_is_one_insert(client: Client, table: str) -> None:
    rows = [[number, b"x" * 100] for number in range(300_000)]
    client.insert(table, rows, column_names=["n", "value"])  # the client cuts it into blocks, each compressed alone
    assert (
        client.command(f"SELECT count() FROM system.parts WHERE active AND table = {table.replace('`', chr(39))}") == 1
    )
    assert client.query(f"SELECT count(), sum(n) FROM {table}").first_row == (300_000, 299_999 * 150_000)


@pytest.mark.parametrize("insert", ["native", "arrow", "text"])
def test_the_same_token_is_inserted_once(client: Client, table: str, insert: str) -> None:
    def send(number: int, token: str) -> None:
        settings = {"insert_deduplication_token": token}
        if insert == "native":
            client.insert(table, [[number, "x"]], column_names=["n", "value"], settings=settings)
        elif insert == "arrow":
            client.insert_arrow(table, pa.table({"n": [number], "value": ["x"]}), settings=settings)
        else:
            client.command(f"INSERT INTO {table} VALUES ({number}, 'x')", settings=settings)

    send(1, "a")
    send(1, "a")
    send(2, "a")  # the token wins over the rows
    send(1, "b")  # and the rows do not matter to another token
    assert client.query(f"SELECT n FROM {table}").result_rows == [(1,), (1,)]


@pytest.mark.parametrize("value", ["plain", "it's", 'a "b"', "back\\slash", "line\nfeed\ttab", "Grüße", "{x:String}"])
def test_a_parameter_arrives_as_it_was_given(client: Client, value: str) -> None:
    result = client.query("SELECT {value:String}, {number:UInt64}", parameters={"value": value, "number": 2**64 - 1})
    assert result.first_row == (value, 2**64 - 1)


def test_many_parameters_come_as_a_form(port: int) -> None:
    with connect(port, form_encode_query_params=True) as client:
        assert client.query("SELECT {value:String}", parameters={"value": "x" * 100_000}).first_row == ("x" * 100_000,)


def test_a_body_as_curl_sends_it_is_a_query(port: int) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/", body=b"SELECT 1 + 1 AS n FORMAT JSONEachRow", headers=headers)
        assert connection.getresponse().read() == b'{"n":2}\n'


def test_settings_and_database_hold_for_one_request_only(client: Client, port: int) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS elsewhere")
    with connect(port, database="elsewhere") as other:
        sql = "SELECT currentDatabase(), getSetting('max_block_size')"
        assert other.query(sql, settings={"max_block_size": 7}).first_row == ("elsewhere", 7)
        assert client.query(sql).first_row == ("default", 65_409)
        assert other.query(sql).first_row == ("elsewhere", 65_409)


async def test_asynchronous_clients_insert_and_read_at_once(port: int, client: Client, table: str) -> None:
    async def work(worker: int) -> None:
        async with await clickhouse_connect.get_async_client(host="127.0.0.1", port=port) as own:
            for number in range(5):
                await own.insert(table, [[worker * 100 + number, "x"]], column_names=["n", "value"])
                await own.query(f"SELECT count() FROM {table}")

    await asyncio.gather(*(work(worker) for worker in range(6)))
    assert client.command(f"SELECT uniqExact(n) FROM {table}") == 30


def test_short_answers_do_not_wait_for_long_questions(client: Client, port: int) -> None:
    slow = threading.Thread(target=lambda: _ask(port, "GET", "SELECT sleep(1.5)"))
    slow.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert _ask(port, "GET", path="/ping").body == b"Ok.\n"
    assert client.command("SELECT 1") == 1
    assert time.monotonic() - began < 1
    assert slow.is_alive()
    slow.join()


def test_a_long_result_is_streamed_and_complete(client: Client) -> None:
    sql = "SELECT number, repeat('x', 20) FROM numbers(500000)"
    with client.query_row_block_stream(sql) as stream:
        assert sum(len(block) for block in stream) == 500_000


def test_plain_http_works_like_the_real_server(port: int, table: str) -> None:
    assert _ask(port, "GET").body == b"Ok.\n"
    assert _ask(port, "GET", "SELECT 1").body == b"1\n"
    assert _ask(port, "POST", body=b"SELECT 1 AS x FORMAT JSONEachRow").body == b'{"x":1}\n'
    assert _ask(port, "POST", "SELECT 1,", body=b"2").body == b"1\t2\n"
    assert _ask(port, "GET", "SELECT 1", default_format="CSVWithNames").body == b'"1"\n1\n'
    assert _ask(port, "POST", f"INSERT INTO {table} FORMAT CSV", body=b'1,"a"\n2,"b"\n').status == 200
    assert _ask(port, "POST", f"INSERT INTO {table} VALUES", body=b"(3, 'c')").status == 200
    answer = _ask(port, "GET", f"SELECT value FROM {table} ORDER BY n", query_id="mine")
    assert answer.body == b"a\nb\nc\n"
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert b"readonly" in _ask(port, "GET", f"DROP TABLE {table}").body  # GET changes nothing


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT nothing", 404, "47", "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM nowhere", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT 1 FROM", 400, "62", "SYNTAX_ERROR"),
        ("SELECT toUInt8('x')", 400, "6", "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SET max_threads = 1", 501, "48", "NOT_IMPLEMENTED"),
    ],
)
def test_exceptions_have_code_text_and_status(port: int, sql: str, status: int, code: str, name: str) -> None:
    answer = _ask(port, "POST", body=sql.encode())
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert answer.body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert f"({name})".encode() in answer.body


@pytest.mark.parametrize("parameter", ["no_such_setting=1", "database=nowhere", "a%20b=1", "compress=1"])
def test_a_wrong_parameter_is_an_exception(port: int, parameter: str) -> None:
    answer = _ask(port, "GET", path=f"/?query=SELECT%201&{parameter}")
    assert answer.status in {404, 501}
    assert answer.headers["X-ClickHouse-Exception-Code"]


def test_an_exception_in_the_middle_of_a_result_is_told(client: Client, port: int) -> None:
    sql = "SELECT number, throwIf(number = 300000) FROM numbers(1000000) SETTINGS max_threads = 1"
    with pytest.raises(StreamFailureError, match="throwIf"), client.query_row_block_stream(sql) as stream:
        for _ in stream:
            pass
    with pytest.raises(http.client.IncompleteRead):  # whoever knows nothing of tags sees an incomplete body
        _ask(port, "GET", sql)
    with pytest.raises(DatabaseError, match="throwIf"):
        client.query(sql)


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lambda data: bytes(cramjam.lz4.compress(data)))],
)
def test_broken_data_leave_no_row(
    client: Client, port: int, table: str, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    good = b"".join(b"%d\tx\n" % number for number in range(50_000))
    for body in (compress(good)[:-100], compress(good + b"nonsense\n")):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        query = urlencode({"query": f"INSERT INTO {table} FORMAT TSV"})
        connection.request("POST", f"/?{query}", body=body, headers={"Content-Encoding": encoding})
        answer = connection.getresponse()
        assert answer.status == 400
        answer.read()
        connection.close()
    assert client.command(f"SELECT count() FROM {table}") == 0


@pytest.mark.parametrize(
    ("table_of", "code"),
    [
        ("(n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS min_free_disk_bytes_to_perform_insert = 1e18", "243"),
        ("(n UInt64, CONSTRAINT small CHECK n < 10) ENGINE = MergeTree ORDER BY n", "469"),
    ],
    ids=["a full disk", "a constraint"],
)
def test_rows_that_the_table_does_not_take_are_not_acknowledged(
    client: Client, port: int, table_of: str, code: str
) -> None:
    client.command(f"CREATE TABLE refusing_{code} {table_of.replace('1e18', str(10**18))}")
    answer = _ask(port, "POST", f"INSERT INTO refusing_{code} FORMAT TSV", body=b"1\n20\n")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (500, code)
    assert client.command(f"SELECT count() FROM refusing_{code}") == 0


def test_what_is_not_done_is_said(port: int, client: Client) -> None:
    for path in ("/play", "/replicas_status"):
        assert _ask(port, "GET", path=path).status == 501
    external = clickhouse_connect.driver.external.ExternalData(
        file_name="x", data=b"1\n", fmt="CSV", structure=["a UInt8"]
    )
    with pytest.raises(DatabaseError, match="does not do external data"):
        client.raw_query("SELECT * FROM x", external_data=external)
