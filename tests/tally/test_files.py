"""Files for the tables of remembered votes, and what is done where there can be none."""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.domain import rows
from pipeline.domain.rows import RowSet, overflow_to, rows_of
from pipeline.domain.table import MAPPED_BYTES
from pipeline.tally.files import Files, MappedFile


def test_what_was_let_go_of_is_still_there_and_takes_no_memory() -> None:
    file, process = MappedFile(32 << 20), psutil.Process()
    before = process.memory_info().rss
    file.cells[:] = 7
    written = process.memory_info().rss
    file.let_go()
    after = process.memory_info().rss
    assert written - before > 30 << 20 > 5 << 20 > after - before
    assert (file.cells[:: 1 << 12] == 7).all()


def test_files_are_where_the_environment_says_or_else_on_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Files(None).folder == tmp_path
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    assert Files(None).folder == Path("/var/tmp")
    monkeypatch.delenv("TMPDIR")
    assert Files(None).folder == Path("/var/tmp")
    assert Files(tmp_path).folder == tmp_path


def test_where_a_byte_is_read_not_much_more_is_mapped() -> None:
    file, process, random = MappedFile(64 << 20), psutil.Process(), np.random.default_rng(1)
    for first in range(0, len(file.cells), 1 << 20):
        file.cells[first : first + (1 << 20)] = 7
        file.let_go()
    before = process.memory_info().rss
    places = random.integers(0, len(file.cells), 100)
    assert (file.cells[places] == 7).all()
    assert process.memory_info().rss - before < 2 * len(places) * MAPPED_BYTES


def test_a_file_has_no_name_and_ends_with_its_table(tmp_path: Path) -> None:
    gc.collect()  # files of tests before
    files, process = Files(tmp_path), psutil.Process()
    open_before = process.num_fds()
    file = files.make(1 << 20)
    assert file is not None
    assert len(files) == 1
    assert not list(tmp_path.iterdir())
    assert process.num_fds() == open_before + 1
    del file
    gc.collect()
    assert not len(files)
    assert process.num_fds() == open_before


@pytest.mark.parametrize("trouble", ["no folder", "no room", "too many"])
def test_without_a_file_rows_stay_in_memory(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_overflow", rows._overflow)  # as it was, afterwards
    most = 0 if trouble == "too many" else 1
    made = Files(tmp_path / "gone" if trouble == "no folder" else tmp_path, most)
    # More than any disk has.
    overflow_to(lambda size: made.make(1 << 60 if trouble == "no room" else size), most_bytes=0, least_rows=1)
    table = RowSet(16)
    given = rows_of(np.random.default_rng(1).bytes(16 * 5000), 16)
    assert table.add(given)[1].all()
    assert not table.filed_bytes
    assert table.has(given).all()
