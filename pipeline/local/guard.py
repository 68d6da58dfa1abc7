"""Runs one program and ends it when the process that asked for it is gone.

Run as a script, by ``pipeline.local.process``; it imports the standard library only, so that it starts in a few
milliseconds. Its standard input is a pipe whose other end the owner holds: end of file means that the owner has closed
it or has died, in whatever way, and the program is stopped. That works on every Unix. What it does not cover, a
``kill -9`` of this guard itself, is covered on Linux by the kernel (``PR_SET_PDEATHSIG``).

Arguments: ``bound|releasable GRACE_S PROGRAM [ARGUMENT...]``. Standard output receives the program's pid, one line.
The program's own output goes to this guard's standard error: a log file. When the owner writes ``keep``, the guard of a
``releasable`` program ends and leaves it alone; before that it is guarded like any other, but for the kernel's part.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1
KEEP = b"keep"


def main(arguments: list[str]) -> int:
    """Start the program; stay until it has ended or is released."""
    mode, grace_s, *program = arguments
    by_kernel = mode == "bound" and sys.platform == "linux"
    child = subprocess.Popen(  # noqa: S603 - what to run is this script's argument
        program,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        stderr=sys.stderr.fileno(),
        start_new_session=True,  # the terminal's Ctrl-C is the owner's business: it stops its programs in order
        preexec_fn=_die_with_guard if by_kernel else None,  # noqa: PLW1509 - one thread so far
    )
    print(child.pid, flush=True)  # noqa: T201 - the answer to the owner
    # The owner decides when this ends; these signals are sent to whole groups by terminals and service managers.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_obey_owner, args=(child, float(grace_s)), daemon=True).start()
    status = child.wait()
    _end_group(child.pid)
    return status if status >= 0 else 128 - status


def _obey_owner(child: "subprocess.Popen[bytes]", grace_s: float) -> None:
    if os.read(sys.stdin.fileno(), len(KEEP)) == KEEP:
        os._exit(0)  # the program lives on; init will reap it
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        _end_group(child.pid)


def _end_group(group: int) -> None:
    """End the program and what it started itself, if anything of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _die_with_guard() -> None:
    """Between fork and exec: ask the kernel to end this process when its parent, the guard, is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
