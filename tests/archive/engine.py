"""ClickHouse's engine within this process, for questions that need no server: DDL, views, what becomes of bytes."""

import json
from pathlib import Path
from typing import Any

from pipeline.archive.block import COLUMNS, FORMAT, Blocks
from pipeline.archive.flush import Flush
from pipeline.archive.migrate import read_migrations


class Engine:
    """A session of chDB. There can be one in a process."""

    def __init__(self, folder: Path) -> None:
        from chdb import session  # noqa: PLC0415  # may be missing, and is slow to load

        self._session: Any = session.Session(str(folder / "data"))
        self._file = folder / "block.arrow"

    def command(self, sql: str) -> None:
        """Run a statement."""
        self._session.query(sql)

    def rows(self, sql: str) -> list[list[Any]]:
        """Run a query."""
        text = str(self._session.query(f"{sql} SETTINGS output_format_json_quote_64bit_integers = 0", "JSONCompact"))
        rows: list[list[Any]] = json.loads(text)["data"]
        return rows

    def insert(self, flush: Flush, **settings: Any) -> None:
        """Insert a flush into `votes_log`, as the worker does it but for the way there."""
        self._file.write_bytes(Blocks().make(flush))
        given = "".join(f", {name} = {value!r}" for name, value in settings.items())
        self.command(
            f"INSERT INTO votes_log ({', '.join(COLUMNS)}) FROM INFILE '{self._file}' "
            f"SETTINGS async_insert = 0{given} FORMAT {FORMAT}"
        )

    def begin(self, database: str = "airtally") -> None:
        """Make empty tables and views, and use them."""
        self.command(f"DROP DATABASE IF EXISTS {database}")
        self.command(f"CREATE DATABASE {database}")
        self.command(f"USE {database}")
        for migration in read_migrations():
            self.command(migration.sql)

    def close(self) -> None:
        """End the session."""
        self._session.close()
