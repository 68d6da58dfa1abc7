"""Room for connections: as much as the system gives, and a clear word where that is none."""

import subprocess
import sys

import pytest

from pipeline.descriptors import SPARE

ASK = """
import resource, sys
from pipeline.errors import SettingError
from pipeline.web.listening import need_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
try:
    print(need_connections(100), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except SettingError as error:
    print(error)
"""


def room_of(hard: int) -> str:
    """Ask a process of its own: a hard limit that was lowered stays so."""
    answer = subprocess.run(
        [sys.executable, "-c", ASK, str(hard)], capture_output=True, text=True, timeout=30, check=True
    )
    return answer.stdout.strip()


@pytest.mark.parametrize(
    ("hard", "room"),
    [(SPARE + 200, 100), (SPARE + 100, 100), (SPARE + 99, 99), (SPARE + 1, 1)],
)
def test_there_is_room_for_what_the_system_lets_us_open(hard: int, room: int) -> None:
    assert room_of(hard) == f"{room} {SPARE + room}"


@pytest.mark.parametrize("hard", [SPARE, 100])
def test_no_room_at_all_is_said(hard: int) -> None:
    said = room_of(hard)
    assert said.startswith(f"this process may open {hard} files")
    assert "LimitNOFILE" in said
