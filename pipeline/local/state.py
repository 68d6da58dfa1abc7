"""What runs in a folder: written down by whoever starts it, read by ``airtally status`` and ``airtally down``."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.errors import ConfigurationError, UnavailableError
from pipeline.local import clickhouse, kafka_wire, process, redis
from pipeline.local.parts import Addresses, Part
from pipeline.local.process import ProcessIdentity
from pipeline.settings import masked

_FORMAT = 2
_LOCK = "lock"
_PROBES: dict[str, Callable[[str], None]] = {
    Part.KAFKA: kafka_wire.answers,
    Part.REDIS: redis.answers,
    Part.CLICKHOUSE: clickhouse.answers,
}


@dataclass(frozen=True)
class Entry:
    """One part or service of the system. ``identity`` None: given from outside, not ours to stop."""

    name: str
    address: str  # of a service: its readiness URL, empty if it has none
    version: str = ""
    serves: str = ""  # of a service: the address of what it serves to others
    log_file: str = ""
    grace_s: float = 20.0
    identity: ProcessIdentity | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as that can be known here."""
        return self.identity is None or self.identity.alive


@dataclass(frozen=True)
class State:
    """The system in a folder. Not ``complete``: its start was not finished, or is going on."""

    detached: bool
    complete: bool
    addresses: Addresses
    entries: tuple[Entry, ...] = ()  # in the order of their start

    def with_entry(self, entry: Entry) -> "State":
        """The same with an entry added, or replaced if the name is there."""
        others = tuple(e for e in self.entries if e.name != entry.name)
        return replace(self, entries=(*others, entry))

    @property
    def runs(self) -> bool:
        """Whether it was started to the end and its parts are still there. A service that has ended can be started again."""
        return self.complete and all(entry.alive for entry in self.entries if entry.name in set(Part))

    def has(self, service: str) -> bool:
        """Whether a service is there."""
        return any(entry.name == service and entry.alive for entry in self.entries)


@dataclass(frozen=True)
class PartStatus:
    """What ``airtally status`` shows of a part or service. ``pid`` None: given from outside."""

    name: str
    address: str
    serves: str
    version: str
    log_file: str
    pid: int | None
    alive: bool
    answering: bool
    detail: str  # why it does not answer; empty if it does


def read_state(folder: Path) -> State | None:
    """What was written down; None if nothing is.

    Raises:
        ConfigurationError: it cannot be read, so nobody knows what runs.
    """
    try:
        raw = json.loads(_file(folder).read_text())
        if raw["format"] != _FORMAT:
            raise ValueError(f"format {raw['format']}, written by another version of Airtally")  # noqa: TRY301
        return State(
            detached=raw["detached"],
            complete=raw["complete"],
            addresses=Addresses(**raw["addresses"]),
            entries=tuple(_entry(entry) for entry in raw["entries"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{_file(folder)}, which says what runs, cannot be read ({error!r}). If it is another user's, ask that user; "
            "else stop what runs by its pids, and delete the file"
        ) from None


def write_state(folder: Path, state: State) -> None:
    """Write it down whole, or not at all."""
    scratch = _file(folder).with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(
        os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
    ) as file:  # addresses have passwords
        file.write(json.dumps({"format": _FORMAT, **asdict(state)}, indent=2) + "\n")
    scratch.replace(_file(folder))


def remove_state(folder: Path) -> None:
    """Nothing runs here any more."""
    _file(folder).unlink(missing_ok=True)


def status(folder: Path) -> list[PartStatus]:
    """Ask every part and service whether it lives and answers. Empty: nothing was started here, or it was stopped."""
    state = read_state(folder)
    return [_status(entry) for entry in state.entries] if state is not None else []


def stop_state(folder: Path, on_progress: Callable[[str], None] = lambda _: None) -> list[str]:
    """Stop what a detached start left running, last started first; return the names of what was stopped.

    Raises:
        ConfigurationError: a command that is still running owns the system in this folder.
    """
    if not folder.is_dir():
        return []
    with locked(folder):
        return stop_entries(folder, read_state(folder), on_progress)


def stop_entries(folder: Path, state: State | None, on_progress: Callable[[str], None]) -> list[str]:
    """As ``stop_state``, for a caller who holds the folder's lock."""
    stopped = []
    for entry in reversed(state.entries if state is not None else ()):
        if entry.identity is not None and entry.identity.alive:
            on_progress(f"{entry.name}: stopping")
            process.stop(entry.identity, grace_s=entry.grace_s)
            stopped.append(entry.name)
    remove_state(folder)
    return stopped


def runs_already(folder: Path) -> ConfigurationError:
    """Say that it was started by ``airtally up``, and what to do."""
    return ConfigurationError(
        f"the system in {folder} runs already, started by `airtally up`. Stop it with `airtally down`, or "
        "choose another folder with AIRTALLY_HOME."
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it when this process ends, however that happens.

    Raises:
        ConfigurationError: another process holds it.
    """
    lock = acquire_lock(folder)
    try:
        yield
    finally:
        os.close(lock)


def clear(folder: Path) -> None:
    """Delete what a folder holds, and stop what an interrupted run has left of it.

    Raises:
        ConfigurationError: a system runs in this folder, owned by a command or started by ``airtally up``; or the folder has
            something that is not ours.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _LOCK).exists():
        raise ConfigurationError(
            f"{folder} was not made by Airtally, and all in it would be deleted: choose another AIRTALLY_HOME"
        )
    with locked(folder):
        state = read_state(folder)
        if state is not None and state.detached and state.runs:
            raise runs_already(folder)
        stop_entries(folder, state, lambda _: None)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _LOCK:  # which another command may wait for
                path.unlink(missing_ok=True)


def acquire_lock(folder: Path) -> int:
    """As ``locked``, for longer than a block: close the returned file descriptor to let go."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be used ({error.strerror}): choose another folder by AIRTALLY_HOME"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise ConfigurationError(
            f"another Airtally command (pid {holder}) is starting, stopping or running the system in {folder}. "
            "Wait for it, end it, or choose another folder with AIRTALLY_HOME."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _file(folder: Path) -> Path:
    return folder / "state.json"


def _entry(raw: dict[str, object]) -> Entry:
    identity = raw.pop("identity")
    known = ProcessIdentity(**identity) if isinstance(identity, dict) else None
    return Entry(**raw, identity=known)  # type: ignore[arg-type]  # a wrong type is a file that cannot be read


def _status(entry: Entry) -> PartStatus:
    detail = ""
    probe = _PROBES.get(entry.name)
    if entry.identity is None and entry.name == Part.KAFKA:
        probe = kafka_wire.listens
    try:
        if not entry.alive:
            raise UnavailableError(f"{entry.name} has ended; its log: {entry.log_file}")  # noqa: TRY301
        if probe is not None:
            probe(entry.address)
        elif entry.address:
            clickhouse.require_ok(entry.address, entry.name)
    except UnavailableError as error:
        detail = str(error)
    return PartStatus(
        name=entry.name,
        address=masked(entry.address),
        serves=entry.serves,
        version=entry.version,
        log_file=entry.log_file,
        pid=entry.identity.pid if entry.identity is not None else None,
        alive=entry.alive,
        answering=not detail,
        detail=detail,
    )
