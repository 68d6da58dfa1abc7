"""The ClickHouse engine (chDB) on one data folder: a connection per request, from any thread."""

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import chdb

from pipeline.local.gateway.refusal import NOT_ENOUGH_SPACE, RefusalError, from_engine
from pipeline.local.gateway.request import EngineRequest
from pipeline.local.gateway.statement import Insert, Statement

# chDB streams a SELECT as blocks, each encoded by itself. In these formats the blocks one after the other are the whole
# result; any other has a beginning and an end, and is made at once.
_STREAMED_FORMATS = frozenset({"native", "tabseparated", "tsv", "csv", "rowbinary", "jsoneachrow"})
_ENGINE_ERRORS = (RuntimeError, chdb.ChdbError)  # chDB raises the one or the other, both with ClickHouse's text


@dataclass
class Summary:
    """What ``X-ClickHouse-Summary`` tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    def as_texts(self) -> dict[str, str]:
        """Numbers as texts, as the real server writes them."""
        return {name: str(value) for name, value in asdict(self).items()}


class Engine:
    """The process's only engine. ``close`` it, or the folder stays locked until the process ends."""

    def __init__(self, folder: Path, *, memory_bytes: int) -> None:
        """Open the folder, which is made if it is not there.

        Raises:
            RuntimeError: another process holds the folder; the text is the engine's.
        """
        self._address = f"{folder}?max_server_memory_usage={memory_bytes}"
        self._keeper: Any = chdb.connect(self._address)  # the engine lives as long as its last connection
        self._spool = folder.with_name(f"{folder.name}-inserts")
        shutil.rmtree(self._spool, ignore_errors=True)  # what a killed process left
        self._spool.mkdir()
        version, timezone = self._keeper.query("SELECT version(), timezone()", "TabSeparated").bytes().decode().split()
        self.version: str = version
        self.timezone: str = timezone

    def close(self) -> None:
        """Release the folder."""
        self._keeper.close()

    @contextmanager
    def connection(self, request: EngineRequest) -> Iterator["EngineConnection"]:
        """A connection with the request's database and settings, which end with it.

        Raises:
            RefusalError: there is no such database or setting, and whatever the engine raises inside.
        """
        raw = chdb.connect(self._address)
        try:
            with _as_refusal():
                _apply(raw, request)
            yield EngineConnection(raw, self._spool)
        finally:
            raw.close()


class EngineConnection:
    """One request's way into the engine. Not for several threads at once."""

    def __init__(self, raw: Any, spool: Path) -> None:
        self._raw, self._spool = raw, spool
        self.summary = Summary()
        self._began = time.monotonic_ns()

    def insert(self, insert: Insert, data: Iterable[bytes]) -> None:
        """Insert the data, all of them or, when anything raises, none (up to the engine's block size).

        They are complete in a file before the engine begins. Its streaming insert would need none; but that one answers
        "done" also when the table could not take the rows, on a full disk say, and whoever believed it would lose them.
        """
        try:
            with tempfile.NamedTemporaryFile(dir=self._spool, buffering=0) as file:
                for piece in data:
                    file.write(piece)
                with _as_refusal():
                    done = self._raw.query(insert.of_file(file.name))
        except OSError as error:
            raise RefusalError(NOT_ENOUGH_SPACE, f"The rows cannot be kept: {error}. (NOT_ENOUGH_SPACE)") from error
        self.summary.written_rows = self.summary.read_rows = done.rows_written()
        self.summary.written_bytes = self.summary.read_bytes = done.bytes_written()
        self._stop_clock()

    def results(self, statement: Statement, default_format: str) -> Iterator[bytes]:
        """Run a statement; yield its result, a piece per block if its format allows."""
        output = statement.format or default_format
        with _as_refusal():
            if statement.streams and output.lower() in _STREAMED_FORMATS:
                with self._raw.send_query(statement.text, output) as blocks:
                    yield from map(self._add, blocks)
            else:
                yield self._add(self._raw.query(statement.text, output))
        self._stop_clock()

    def _add(self, result: Any) -> bytes:
        data: bytes = result.bytes()
        self.summary.read_rows += result.storage_rows_read()
        self.summary.read_bytes += result.storage_bytes_read()
        self.summary.written_rows += result.rows_written()
        self.summary.written_bytes += result.bytes_written()
        self.summary.result_rows += result.rows_read()
        self.summary.result_bytes += len(data)
        return data

    def _stop_clock(self) -> None:
        self.summary.elapsed_ns = time.monotonic_ns() - self._began


@contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except _ENGINE_ERRORS as error:
        raise from_engine(str(error)) from error


def _apply(raw: Any, request: EngineRequest) -> None:
    """Give a new connection the request's database, settings and parameters."""
    if request.database:
        raw.query(f"USE `{_escaped(request.database, '`')}`")
    settings = {**request.settings, **{f"param_{name}": value for name, value in request.parameters.items()}}
    if settings:
        raw.query("SET " + ", ".join(f"{name} = '{_escaped(value)}'" for name, value in settings.items()))


def _escaped(text: str, quote: str = "'") -> str:
    if "\0" in text:
        raise RefusalError(36, "A name or value in the request holds a NUL character. (BAD_ARGUMENTS)")
    return text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
