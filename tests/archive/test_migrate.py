"""Tables and views are made once, described, and those of another version are refused with a remedy."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.archive.connection import connect
from pipeline.archive.migrate import check, migrate, read_migrations, sql_folder
from pipeline.errors import SchemaMismatchError, UnavailableError
from pipeline.local.ports import free_port
from pipeline.settings import Settings

ALL = [str(migration) for migration in read_migrations()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the files, to be changed."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "clickhouse"))


@pytest.mark.real
def test_made_once(found: Settings) -> None:
    with pytest.raises(SchemaMismatchError, match=f"has schema version 0.*needs {len(ALL)}.*airtally init"):
        check(found)
    assert migrate(found) == ALL
    assert migrate(found) == []
    assert f"schema version {len(ALL)}" in check(found)


@pytest.mark.real
def test_two_at_once_make_the_same(found: Settings) -> None:
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(migrate, [found, found]))
    assert ALL in made or set(made[0]) | set(made[1]) == set(ALL)
    assert check(found)


@pytest.mark.real
def test_an_older_database_is_brought_up_to_date(found: Settings, folder: Path) -> None:
    for name in ALL[-2:]:
        (folder / f"{name}.sql").unlink()
    assert migrate(found, folder) == ALL[:-2]
    with pytest.raises(SchemaMismatchError, match="airtally init"):
        check(found)
    assert migrate(found) == ALL[-2:]


@pytest.mark.real
def test_a_newer_database_is_refused(found: Settings, folder: Path) -> None:
    (folder / f"{len(ALL) + 1:04}_what_comes_later.sql").write_text("CREATE VIEW later AS SELECT 1 AS one")
    migrate(found, folder)
    for call in (check, migrate):
        with pytest.raises(SchemaMismatchError, match=f"version {len(ALL) + 1}.*what_comes_later.*install the newer"):
            call(found)


@pytest.mark.real
def test_a_changed_file_is_refused(found: Settings, folder: Path) -> None:
    migrate(found)
    first = folder / f"{ALL[0]}.sql"
    first.write_text(first.read_text("utf-8") + "-- another thought\n")
    for call in (check, migrate):
        with pytest.raises(SchemaMismatchError, match=f"another {ALL[0]}.*AIRTALLY_CLICKHOUSE_DATABASE"):
            call(found, folder)


@pytest.mark.real
def test_every_column_says_what_it_is(found: Settings) -> None:
    migrate(found)
    client = connect(found)
    undescribed = "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND comment = ''"
    assert client.query(undescribed).result_rows == []
    nameless = "SELECT name FROM system.tables WHERE database = currentDatabase() AND comment = ''"
    assert client.query(nameless).result_rows == []
    client.close()


@pytest.mark.real
def test_clickhouse_away_is_waited_for_by_the_caller(found: Settings) -> None:
    away = found.model_copy(update={"clickhouse_url": f"http://127.0.0.1:{free_port()}"})
    for call in (check, migrate):
        with pytest.raises(UnavailableError):
            call(away)


@pytest.mark.parametrize("name", ["0099_far.sql", "0001_twice.sql", "second.sql", "1_short.sql"])
def test_files_must_be_numbered_without_holes(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"number|named"):
        read_migrations(folder)


def test_no_files_are_no_schema(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="numbered"):
        read_migrations(tmp_path)
