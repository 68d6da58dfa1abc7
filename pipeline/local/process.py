"""Child processes: started with a log file, waited for, stopped in bounded time, never left behind.

A child ends with the process that started it, even if that one gets ``kill -9``: a small guard process
(``pipeline.local.guard``) stands between them. A *released* child outlives its starter; its ``ProcessIdentity`` is
written down, and whoever stops it later cannot hit another process that has been given the same pid since.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipeline.errors import UnavailableError
from pipeline.local import guard

_GUARD = Path(guard.__file__)
_START_S = 20.0  # a guard prints the child's pid within milliseconds, on an overloaded machine within seconds
_KILLED_S = 5.0  # after SIGKILL a process is gone as soon as the kernel has released its memory
_POLL_S = 0.05
_TAIL_BYTES = 8_192
_TAIL_LINES = 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Launch:
    """What to run, and how to find out that it serves. ``probe`` raises UnavailableError as long as it does not."""

    name: str
    argv: Sequence[str]
    log_file: Path
    probe: Callable[[], None]
    env: Mapping[str, str]
    ready_s: float = 60.0
    grace_s: float = 20.0  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class ProcessIdentity:
    """A pid together with the moment at which its process began: never ambiguous.

    Attributes:
        born: that moment, by a clock that nobody sets. On Linux the boot, and the ticks since then.
    """

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """Identify a process.

        Raises:
            psutil.Error: there is none.
        """
        return cls(pid, _born(psutil.Process(pid)))

    def process(self) -> psutil.Process | None:
        """The process, or None if it has ended, whoever has its pid now."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if _born(process) == self.born and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.process() is not None


def _born(process: psutil.Process) -> str:
    # psutil's own time of creation moves with the system's clock on Linux; /proc/PID/stat, field 22, does not (proc(5)).
    try:
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{_BOOT.read_text().strip()} {ticks}"
    except FileNotFoundError:
        return repr(process.create_time())  # which raises if it has ended


@dataclass
class Child:
    """A program that this process has started, and the guard that ends it when this process is gone."""

    launch: Launch
    identity: ProcessIdentity
    _guard: "subprocess.Popen[bytes]" = field(repr=False)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.identity.alive

    def release(self) -> None:
        """Let it outlive this process; it must have been started ``releasable``."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with suppress(BrokenPipeError), self._guard.stdin:
                self._guard.stdin.write(guard.KEEP)
            self._guard.wait(_START_S)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL), and wait until it is gone."""
        process = self.identity.process()
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.stop()

    def stop(self) -> None:
        """SIGTERM, wait, SIGKILL if it must be. Does nothing if it has ended already."""
        _let_go(self._guard, wait_s=self.launch.grace_s + _KILLED_S)
        stop(self.identity, grace_s=self.launch.grace_s)  # if it was released, or its guard was killed


def start(launch: Launch, *, releasable: bool = False) -> Child:
    """Start a program; it runs, but need not serve yet (``wait_ready``).

    Raises:
        UnavailableError: it ended at once; the text holds the end of its log.
    """
    launch.log_file.parent.mkdir(parents=True, exist_ok=True)
    mode = "releasable" if releasable else "bound"
    with launch.log_file.open("ab") as log:
        keeper = subprocess.Popen(  # noqa: S603 - our own guard
            [sys.executable, "-I", "-S", str(_GUARD), mode, str(launch.grace_s), *launch.argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(launch.env),
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the owner only, which then stops its children in order
        )
    try:
        return Child(launch, _identity(keeper), keeper)
    except (OSError, ValueError, psutil.Error):
        _let_go(keeper, wait_s=_START_S)
        raise UnavailableError(f"{launch.name} ended at once.\n{tail(launch.log_file)}") from None
    except BaseException:
        _let_go(keeper, wait_s=_START_S)  # Ctrl-C between question and answer
        raise


def _identity(keeper: "subprocess.Popen[bytes]") -> ProcessIdentity:
    """Read what the guard says about its child.

    Raises:
        ValueError: it said nothing: the program could not be run.
        psutil.Error: the program has ended already.
    """
    if keeper.stdout is None:
        raise ValueError("the guard has no output")
    with keeper.stdout:
        pid = int(keeper.stdout.readline())
    return ProcessIdentity.of(pid)


def _let_go(keeper: "subprocess.Popen[bytes]", *, wait_s: float) -> None:
    """Close the guard's pipe, which it takes as the order to stop its program, and wait for it."""
    if keeper.stdin is not None:
        keeper.stdin.close()
    try:
        keeper.wait(wait_s)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()


class GivenUpError(UnavailableError):
    """The wait for a child was called off because of something else."""


def wait_ready(child: Child, giving_up: threading.Event | None = None) -> float:
    """Wait until the child serves; return the seconds that took.

    Raises:
        GivenUpError: ``giving_up`` was set meanwhile.
        UnavailableError: it ended, or did not serve in time; the text holds the end of its log.
    """
    launch = child.launch
    began = time.monotonic()
    while True:
        reason = "somebody else answers in its place"
        try:
            launch.probe()
        except UnavailableError as error:
            reason = str(error)
        else:
            if child.alive:
                return time.monotonic() - began
        if not child.alive:
            raise UnavailableError(f"{launch.name} ended while starting.\n{tail(launch.log_file)}")
        if time.monotonic() - began > launch.ready_s:
            raise UnavailableError(
                f"{launch.name} does not serve after {launch.ready_s:.0f} s: {reason}\n{tail(launch.log_file)}"
            )
        if giving_up is not None and giving_up.is_set():
            raise GivenUpError(f"{launch.name} was not waited for")
        time.sleep(_POLL_S)


def stop(identity: ProcessIdentity, *, grace_s: float) -> None:
    """SIGTERM a process known by pid and start time, wait, SIGKILL what is left of it and of its children."""
    process = identity.process()
    if process is None:
        return
    family = [process]
    with suppress(psutil.Error):
        family += process.children(recursive=True)
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    left = _still_running(family, within_s=grace_s)
    for survivor in left:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    _still_running(left, within_s=_KILLED_S)


def _still_running(processes: list[psutil.Process], *, within_s: float) -> list[psutil.Process]:
    """Wait for processes to end; return those that have not. A zombie has ended: its parent reaps it."""
    deadline = time.monotonic() + within_s
    while True:
        left = [process for process in processes if _runs(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def tail(log_file: Path) -> str:
    """The end of a log, for an error message."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join([f"The end of {log_file}:", *(f"  {line}" for line in lines)])
