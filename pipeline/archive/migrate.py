"""ClickHouse's tables and views, from numbered SQL files: each is one statement, applied once, in order, never changed.

A later change is a new file: views by CREATE OR REPLACE, the table by ALTER. What was applied stands in
``schema_migrations``, with a checksum of each file, so that a database made by other files is noticed at start.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.connection import connect, translated_errors
from pipeline.errors import SchemaMismatchError
from pipeline.settings import Settings

_FILE_NAME = re.compile(r"(?P<number>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql")

_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
  number UInt32 COMMENT 'Number of the file in schemas/clickhouse',
  name String COMMENT 'Its name',
  checksum String COMMENT 'SHA-256 of its text, hex',
  applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied'
)
ENGINE = ReplacingMergeTree
ORDER BY number
COMMENT 'The files of schemas/clickhouse that made this database'
"""


@dataclass(frozen=True)
class Migration:
    """One file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.number:04}_{self.name}"


def sql_folder() -> Path:
    """Find the SQL files: within the package once it is installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_schemas" / "clickhouse"
    return installed if installed.is_dir() else package.parent / "schemas" / "clickhouse"


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Read the files in the order of their numbers.

    Raises:
        ValueError: a file's name is not like 0001_name.sql, or the numbers are not 1, 2, 3, ...
    """
    migrations = []
    for file in sorted((folder or sql_folder()).glob("*.sql")):
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise ValueError(f"{file.name} is not named like 0001_name.sql")
        migrations.append(Migration(int(match["number"]), match["name"], file.read_text("utf-8")))
    numbers = [migration.number for migration in migrations]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise ValueError(f"migrations must be numbered 1, 2, 3, ..., these are {numbers}")
    return migrations


def pending(known: Sequence[Migration], applied: dict[int, tuple[str, str]], database: str) -> list[Migration]:
    """Give the migrations that are to be applied. `applied`: number to name and checksum.

    Raises:
        SchemaMismatchError: the database was made by a newer version, or by other files.
    """
    newest = max(applied, default=0)
    if newest > len(known):
        raise SchemaMismatchError(
            f"ClickHouse database {database} has schema version {newest} ({applied[newest][0]}), this airtally knows "
            f"versions up to {len(known)}: install the newer airtally, or set AIRTALLY_CLICKHOUSE_DATABASE to another one"
        )
    for migration in known[:newest]:
        name, checksum = applied.get(migration.number, ("none", "none"))
        if checksum != migration.checksum:
            raise SchemaMismatchError(
                f"ClickHouse database {database} was made by another {migration}: there {name} with checksum "
                f"{checksum[:12]}, here {migration.checksum[:12]}. Set AIRTALLY_CLICKHOUSE_DATABASE to a new name: the "
                "archive fills it from the log"
            )
    return list(known[newest:])


def migrate(settings: Settings, folder: Path | None = None) -> list[str]:
    """Make database, tables and views, or bring them up to date; give what was applied. Safe to repeat, also at once.

    Raises:
        SchemaMismatchError: see ``pending``.
        UnavailableError: ClickHouse does not answer. What was applied until then stays, and is not applied again.
        ConfigurationError: it refuses user and password.
    """
    known, database = read_migrations(folder), settings.clickhouse_database
    with _client(settings, "default") as client:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{database}`")
    with _client(settings, database) as client:
        client.command(_APPLIED)
        todo = pending(known, _applied(client), database)
        for migration in todo:
            client.command(migration.sql)
            client.insert(
                "schema_migrations",
                [[migration.number, migration.name, migration.checksum]],
                column_names=["number", "name", "checksum"],
            )
    return [str(migration) for migration in todo]


def check(settings: Settings, folder: Path | None = None) -> str:
    """Make sure that the tables are those of this version, and change nothing; give ClickHouse's and their version.

    Raises:
        SchemaMismatchError: they are missing, older, newer, or made by other files.
        UnavailableError: ClickHouse does not answer.
        ConfigurationError: it refuses user and password.
    """
    known, database = read_migrations(folder), settings.clickhouse_database
    with _client(settings, "default") as client:
        server = str(client.server_version)
        has_table = client.query(
            "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'",
            parameters={"database": database},
        ).first_row[0]
    applied = {}
    if has_table:
        with _client(settings, database) as client:
            applied = _applied(client)
    missing = pending(known, applied, database)
    if missing:
        raise SchemaMismatchError(
            f"ClickHouse database {database} has schema version {len(known) - len(missing)}, this airtally needs "
            f"{len(known)}: run `airtally init`"
        )
    return f"ClickHouse {server}, database {database}, schema version {len(known)}"


@contextmanager
def _client(settings: Settings, database: str) -> Iterator[Any]:
    client = connect(settings, database=database)
    with translated_errors():
        try:
            yield client
        finally:
            client.close()


def _applied(client: Any) -> dict[int, tuple[str, str]]:
    """Number to name and checksum."""
    rows = client.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number").result_rows
    return {number: (name, checksum) for number, name, checksum in rows}
