"""Where an INSERT's data begin, which format a result has, what is refused."""

import pytest

from pipeline.local.gateway.refusal import RefusalError
from pipeline.local.gateway.statement import insert_with_data, plain


@pytest.mark.parametrize(
    ("head", "query", "output", "data"),
    [
        (b"INSERT INTO t (a, b) FORMAT Native\n\x02\xff", "INSERT INTO t (a, b)", "Native", b"\x02\xff"),
        (b"insert into t format TSV\r\n1\t2", "insert into t", "TSV", b"1\t2"),
        (b'INSERT INTO t FORMAT JSONEachRow {"a":1}', "INSERT INTO t", "JSONEachRow", b'{"a":1}'),
        (
            b"INSERT INTO t SETTINGS x = 'FORMAT y' FORMAT CSV\n\n1",
            "INSERT INTO t SETTINGS x = 'FORMAT y'",
            "CSV",
            b"\n1",
        ),
        (b"INSERT INTO `FORMAT x` (`a``b`) FORMAT Native\n", "INSERT INTO `FORMAT x` (`a``b`)", "Native", b""),
        (
            b"/* FORMAT a */ INSERT -- FORMAT b\n INTO t FORMAT c\n1",
            "/* FORMAT a */ INSERT -- FORMAT b\n INTO t",
            "c",
            b"1",
        ),
        (b"INSERT INTO t (format, a) FORMAT Values (1, 2)", "INSERT INTO t (format, a)", "Values", b"(1, 2)"),
    ],
)
def test_an_insert_is_split_from_its_data(head: bytes, query: str, output: str, data: bytes) -> None:
    insert = insert_with_data(head)
    assert insert is not None
    assert (f"{insert.into} {insert.settings}".rstrip(), insert.format, head[insert.data_at :]) == (query, output, data)


@pytest.mark.parametrize(
    "sql",
    [
        b"INSERT INTO t VALUES (1, 'FORMAT Native')",
        b"INSERT INTO t SELECT 1 FORMAT Native",
        b"SELECT 1 FORMAT Native",
        b"",
    ],
)
def test_what_has_no_data_behind_it_is_not_split(sql: bytes) -> None:
    assert insert_with_data(sql) is None


@pytest.mark.parametrize(
    ("sql", "output"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1\n FORMAT Native", "Native"),
        (b"SELECT 1 format JSON ;", "JSON"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1", "JSON"),
        (b"SELECT a AS format FROM t", None),
        (b"SELECT format('{}', a) FROM t -- FORMAT x", None),
        (b"SELECT 'FORMAT Native'", None),
        (b"(SELECT 1) FORMAT CSV", "CSV"),
        (b"WITH 1 AS x SELECT x FORMAT CSV", "CSV"),
    ],
)
def test_the_format_of_a_result_is_found(sql: bytes, output: str | None) -> None:
    statement = plain(sql)
    assert statement.format == output
    assert statement.has_result
    assert statement.streams


@pytest.mark.parametrize(
    "sql", [b"CREATE TABLE t (a String) ENGINE = Memory", b"INSERT INTO t VALUES (1), (2);", b"OPTIMIZE TABLE t"]
)
def test_other_statements_have_no_result(sql: bytes) -> None:
    assert not plain(sql).has_result


def test_a_list_of_tables_is_a_result_that_does_not_stream() -> None:
    assert plain(b"SHOW TABLES").has_result
    assert not plain(b"SHOW TABLES").streams


@pytest.mark.parametrize(
    ("sql", "status", "says"),
    [
        (b"", 400, "Empty query"),
        (b" -- only a remark", 400, "Empty query"),
        (b"SELECT 1; SELECT 2", 400, "Multi-statements"),
        (b"DROP TABLE a; DROP TABLE b", 400, "Multi-statements"),
        (b"SELECT '\xff'", 400, "not UTF-8"),
        (b"SET max_threads = 1", 501, "no sessions"),
        (b"use airtally", 501, "no sessions"),
        (b"CREATE TEMPORARY TABLE t (a UInt8)", 501, "temporary tables"),
        (b"SELECT 1 INTO OUTFILE 'x'", 501, "INTO OUTFILE"),
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 501, "FROM INFILE"),
    ],
)
def test_what_is_not_done_is_refused(sql: bytes, status: int, says: str) -> None:
    assert insert_with_data(sql) is None
    with pytest.raises(RefusalError, match=says) as caught:
        plain(sql)
    assert caught.value.status == status
