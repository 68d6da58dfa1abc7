"""The hash of a record, computed in SQL from stored bytes and in Python from the log's."""

import pytest

from pipeline.archive.digests import _LEAVES
from pipeline.archive.flush import Flush
from pipeline.audit.leaf import leaves_of
from tests.audit.test_leaf import records

from .engine import Engine

pytestmark = pytest.mark.real


def test_sql_hashes_what_python_hashes(engine: Engine) -> None:
    batch = records()
    engine.insert(Flush([batch]))
    sql = _LEAVES
    given = {"topic:String": "'votes'", "partitions:Array(UInt32)": "[3]"}
    given |= {"firsts:Array(UInt64)": "[0]", "nexts:Array(UInt64)": "[1000]"}
    for name, value in given.items():
        sql = sql.replace("{" + name + "}", value)
    found = engine.rows(f"SELECT offset, hex(leaf) FROM ({sql})")
    assert found == [[offset, leaf.hex().upper()] for offset, leaf in enumerate(leaves_of(batch), batch.first_offset)]
