"""Children: no server is needed here, a sleeping Python will do."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from pipeline.errors import UnavailableError
from pipeline.local import process
from pipeline.local.process import Child, Launch, ProcessIdentity

from .conftest import Eventually, StartScript

_SLEEPS = "import time; print('awake', flush=True); time.sleep(600)"
_STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_SLEEPS}"
_FAMILY = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "

_OWNER = """
import sys, time
from pathlib import Path
from pipeline.local import process

def launch(code):
    argv = [sys.executable, "-c", code, sys.argv[1]]
    return process.Launch("child", argv, Path(sys.argv[1], "log"), lambda: None, {})

child = process.start(launch(sys.argv[2]), releasable=True)
if sys.argv[3] == "release":
    child.release()
print(child.identity.pid, child.identity.born, sep='|', flush=True)
time.sleep(600)
"""


def _start(folder: Path, code: str, *, grace_s: float = 10, probe: Callable[[], None] = lambda: None) -> Child:
    argv = [sys.executable, "-c", code, str(folder)]
    return process.start(
        Launch("child", argv, folder / "child.log", probe, dict(os.environ), ready_s=0.5, grace_s=grace_s)
    )


def _said(folder: Path) -> bool:
    return "awake" in (folder / "child.log").read_text()


def test_a_child_runs_and_is_stopped(folder: Path) -> None:
    child = _start(folder, _SLEEPS)
    assert child.alive
    child.stop()
    assert not child.alive
    child.stop()  # the second time nothing happens


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(folder: Path, eventually: Eventually) -> None:
    child = _start(folder, _STUBBORN, grace_s=0.2)
    eventually(lambda: _said(folder))
    child.stop()
    assert not child.alive


def test_what_a_child_has_started_itself_ends_with_it(folder: Path, eventually: Eventually) -> None:
    child = _start(folder, _FAMILY + _SLEEPS)
    eventually(lambda: _said(folder))
    (grandchild,) = psutil.Process(child.identity.pid).children()
    child.stop()
    eventually(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_with_its_owner_however_that_ends(
    number: signal.Signals, folder: Path, start_script: StartScript, eventually: Eventually
) -> None:
    folder.mkdir()
    owner = start_script(_OWNER, folder, _SLEEPS, "hold")
    identity = _identity(owner)
    assert identity.alive
    owner.send_signal(number)
    eventually(lambda: not identity.alive)


def test_a_released_child_outlives_its_owner_and_is_stopped_by_its_identity(
    folder: Path, start_script: StartScript
) -> None:
    folder.mkdir()
    owner = start_script(_OWNER, folder, _SLEEPS, "release")
    identity = _identity(owner)
    owner.kill()
    owner.wait()
    assert identity.alive
    process.stop(identity, grace_s=10)
    assert not identity.alive


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(folder: Path) -> None:
    child = _start(folder, _SLEEPS)
    assert os.getpgid(child.identity.pid) != os.getpgid(0)
    assert os.getsid(child.identity.pid) != os.getsid(0)
    child.stop()


def test_another_process_with_a_recycled_pid_is_not_touched(folder: Path) -> None:
    child = _start(folder, _SLEEPS)
    earlier = ProcessIdentity(child.identity.pid, f"{child.identity.born}0")
    assert not earlier.alive
    process.stop(earlier, grace_s=0)
    assert child.alive
    child.stop()


def test_the_end_of_the_log_is_in_the_error_when_a_child_ends_at_its_start(folder: Path) -> None:
    def probe() -> None:
        raise UnavailableError("not yet")

    child = _start(folder, "raise SystemExit('no such flag: --quick')", probe=probe)
    with pytest.raises(UnavailableError, match=r"(?s)ended while starting.*child\.log.*no such flag: --quick"):
        process.wait_ready(child)
    child.stop()


def test_the_wait_for_a_child_is_bounded(folder: Path, eventually: Eventually) -> None:
    def probe() -> None:
        raise UnavailableError("the door is shut")

    child = _start(folder, _SLEEPS, probe=probe)
    eventually(lambda: _said(folder))
    with pytest.raises(UnavailableError, match=r"(?s)does not serve after 0 s: the door is shut.*awake"):
        process.wait_ready(child)
    child.stop()


def test_a_program_that_cannot_be_run_is_an_error_with_its_reason(folder: Path) -> None:
    launch = Launch("child", [str(folder / "nothing")], folder / "child.log", lambda: None, {})
    with pytest.raises(UnavailableError, match=r"(?s)child ended at once.*No such file"):
        process.start(launch)


def _identity(owner: Popen[str]) -> ProcessIdentity:
    assert owner.stdout is not None
    pid, _, born = owner.stdout.readline().rstrip("\n").partition("|")
    return ProcessIdentity(int(pid), born)
