"""The engine, once for the session. Without chDB these tests are skipped on a laptop, and fail in CI."""

import importlib.util
from collections.abc import Iterator

import pytest

from tests.conftest import CI

from .engine import Engine


@pytest.fixture(scope="session")
def session_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if importlib.util.find_spec("chdb") is None:
        if CI:
            pytest.fail("chdb is not installed")
        pytest.skip("chdb is not installed: pip install 'airtally[local]'")
    engine = Engine(tmp_path_factory.mktemp("clickhouse"))
    yield engine
    engine.close()


@pytest.fixture
def engine(session_engine: Engine) -> Engine:
    """The engine with empty tables."""
    session_engine.begin()
    return session_engine
