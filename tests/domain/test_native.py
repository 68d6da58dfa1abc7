"""Loops give the same compiled as not, are kept for the next process, and do without where they cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.domain import memory, rows
from pipeline.domain.native import _Loop

FIND = """
import numpy as np
from pipeline.domain.strings import Strings
print(Strings.of([b"ann", None, b"bob"]).are(np.array([b"ann", b"bob", b"bo"])).tolist())
"""


def run(code: str, **variables: str) -> str:
    env = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = {"NUMBA_CACHE_DIR": str(tmp_path / "file"), "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    assert run(FIND, **nowhere) == "[True, False, False]\n"


def test_what_is_damaged_in_the_cache_is_compiled_anew(tmp_path: Path) -> None:
    run(FIND, NUMBA_CACHE_DIR=str(tmp_path))
    kept = [*tmp_path.rglob("*.nbc")]
    assert kept
    for each in kept:
        each.write_bytes(each.read_bytes()[:100])
    assert run(FIND, NUMBA_CACHE_DIR=str(tmp_path)) == "[True, False, False]\n"


def test_who_runs_no_loop_does_without_numba() -> None:
    code = (
        "import sys, pipeline.edge.service, pipeline.live.service, pipeline.domain.fold; print('numba' in sys.modules)"
    )
    assert run(code) == "False\n"


@pytest.mark.parametrize("size", [17, 32, 49])
def test_compiled_or_not_it_is_the_same(size: int) -> None:
    loop = memory._pack
    assert isinstance(loop, _Loop)
    voters = rows.bytes_of(np.array(["A", "-_" * 11, "zZ9", "B"], np.bytes_))
    compiled, plain = np.empty((2, len(voters), size), np.uint8)
    loop(voters, compiled)
    loop.plain(voters, plain)
    assert compiled.tolist() == plain.tolist()
