"""The local system: Kafka, Redis and ClickHouse, and Airtally's own services on them, on this machine.

For tests and the demo everything ends with the process that started it, however that one ends::

    with LocalStack(folder) as stack:
        use(stack.addresses.kafka, stack.addresses.redis_url, stack.addresses.clickhouse_url)

For ``airtally up`` everything stays; ``pipeline.local.state`` finds and stops it later::

    LocalStack(folder, services=[...], prepare=create_topic_and_tables).start(detached=True)
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.local import process
from pipeline.local.parts import ALL_PARTS, STANDARD_PORTS, Addresses, Options, Part, Plan, choose
from pipeline.local.ports import free_port
from pipeline.local.process import Child, GivenUpError, Launch
from pipeline.local.service import Service
from pipeline.local.state import (
    Entry,
    PartStatus,
    State,
    acquire_lock,
    read_state,
    remove_state,
    runs_already,
    status,
    stop_entries,
    stop_state,
    write_state,
)

__all__ = [
    "ALL_PARTS",
    "STANDARD_PORTS",
    "Addresses",
    "LocalStack",
    "Options",
    "Part",
    "PartStatus",
    "Service",
    "free_port",
    "read_state",
    "status",
    "stop_state",
]

_NOTHING = State(detached=False, complete=False, addresses=Addresses())


class LocalStack:
    """Starts and stops the system in one folder. Not for several threads at once."""

    def __init__(  # noqa: PLR0913 - what can be chosen about a system
        self,
        folder: Path,
        parts: Collection[Part] = ALL_PARTS,
        *,
        given: Addresses | None = None,
        ports: Mapping[Part, int] | None = None,
        services: Sequence[Service] = (),
        prepare: Callable[[Addresses], None] | None = None,
        options: Options | None = None,
    ) -> None:
        """Choose; nothing is started yet.

        Args:
            folder: data, logs and state of this system.
            parts: which parts there are at all.
            given: addresses of parts that run elsewhere already: those are not started.
            ports: of the parts to start; a free one for each that is not named.
            services: started when all parts serve and ``prepare`` has returned.
            prepare: called between parts and services, to make topics and tables.
            options: of the parts.
        """
        self.folder = folder.resolve()
        self._parts = [part for part in Part if part in parts]
        self._given = given or Addresses()
        self._ports = dict(ports or {})
        self._services = list(services)
        self._prepare = prepare
        self._options = options or Options()
        self._children: dict[str, Child] = {}
        self._state = _NOTHING
        self._changing = threading.Lock()  # parts start in parallel and are written down one after the other
        self._giving_up = threading.Event()
        self._lock: int | None = None

    @property
    def addresses(self) -> Addresses:
        """Where the parts are, as soon as they are started."""
        return self._state.addresses

    @property
    def children(self) -> Mapping[str, Child]:
        """What this object has started, by name ("kafka", "redis", "clickhouse", or a service's)."""
        return dict(self._children)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, detached: bool = False, on_progress: Callable[[str], None] = lambda _: None) -> bool:
        """Start everything and wait until it serves. False: it runs in this folder already, nothing was done.

        Where the parts run already, detached, only services that have ended, or were not there, are started.

        Raises:
            ConfigurationError: a tool is missing, a port is taken, another command owns the folder.
            UnavailableError: a part does not come up; the text holds the end of its log.

        After an exception nothing that was started here is left running; with ``detached``, not even if this process
        is killed before the start is complete.
        """
        self._lock = acquire_lock(self.folder)
        self._giving_up.clear()
        try:
            if self._runs_already(detached=detached, on_progress=on_progress):
                return self._add_services(on_progress)
            for service in self._services:
                service.require_ports()
            addresses, plans = choose(self.folder, self._parts, self._given, self._ports, self._options, on_progress)
            self._state = State(detached=detached, complete=False, addresses=addresses)
            for part in set(self._parts) - set(plans):
                self._state = self._state.with_entry(Entry(part, addresses.of(part)))
            self._start_parts(plans, on_progress)
            if self._prepare is not None:
                self._prepare(self.addresses)
            self._start_services(self._services, on_progress)
            self._complete()
        except BaseException:
            self.stop()
            raise
        finally:
            if detached:
                self._unlock()
        return True

    def start_service(self, service: Service) -> Child:
        """Start one more service and wait until it serves.

        Raises:
            UnavailableError: it does not come up.
        """
        launch = service.launch(self.folder / "services", self.addresses)
        return self._run(launch, Entry(service.name, service.ready_url or "", serves=service.address))

    def restart(self, name: str) -> Child:
        """Start a child again that has ended or was killed, with the same ports and data; wait until it serves.

        Raises:
            UnavailableError: it does not come up.
        """
        child = self._children[name]
        child.stop()
        entry = next(entry for entry in self._state.entries if entry.name == name)
        return self._run(child.launch, entry)

    def stop(self) -> None:
        """Stop what this object has started, last started first. Does nothing the second time."""
        for child in reversed(self._children.values()):
            child.stop()
        if self._lock is not None or self._children:
            remove_state(self.folder)
        self._children.clear()
        self._state = _NOTHING
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _runs_already(self, *, detached: bool, on_progress: Callable[[str], None]) -> bool:
        """Look at what was written down here; clean up what a crash or a reboot has left of it."""
        state = read_state(self.folder)
        if state is not None and state.detached and state.runs:
            self._state = state
            if detached:
                return True
            self._unlock()  # before `stop` could take the system's state for ours
            raise runs_already(self.folder)
        for name in stop_entries(self.folder, state, lambda _: None):
            on_progress(f"{name}: stopped, left over from a run that was interrupted")
        return False

    def _add_services(self, on_progress: Callable[[str], None]) -> bool:
        """Start the services that are not there. What runs goes on, whatever comes of it."""
        before = self._state
        missing = [service for service in self._services if not before.has(service.name)]
        try:
            for service in missing:
                service.require_ports()
            self._start_services(missing, on_progress)
            if missing:
                self._complete()
        except BaseException:
            for child in reversed(self._children.values()):
                child.stop()
            write_state(self.folder, before)
            self._children.clear()
            self._unlock()
            raise
        return bool(missing)

    def _start_services(self, services: Iterable[Service], on_progress: Callable[[str], None]) -> None:
        for service in services:
            self.start_service(service)
            on_progress(f"{service.name}: ready")

    def _start_parts(self, plans: Mapping[Part, Plan], on_progress: Callable[[str], None]) -> None:
        """All at once. When one fails, or at Ctrl-C, the others are not waited for."""

        def start(part: Part, plan: Plan) -> None:
            child = self._run(plan.launch(), Entry(part, plan.address, plan.version()))
            on_progress(f"{part.label}: ready at {plan.address} (pid {child.identity.pid})")

        with ThreadPoolExecutor(len(Part), thread_name_prefix="start") as starters:
            futures = [starters.submit(start, part, plan) for part, plan in plans.items()]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:
                self._giving_up.set()
                raise
            if any(future.exception() is not None for future in done):
                self._giving_up.set()
        _raise_first(future.exception() for future in futures)

    def _run(self, launch: Launch, entry: Entry) -> Child:
        if self._giving_up.is_set():
            raise GivenUpError(f"{launch.name} was not started")
        child = process.start(launch, releasable=self._state.detached)
        with self._changing:  # known before it serves: whatever happens now, it will be found and stopped
            self._children[launch.name] = child
            self._state = self._state.with_entry(
                replace(entry, log_file=str(launch.log_file), grace_s=launch.grace_s, identity=child.identity)
            )
            write_state(self.folder, self._state)
        process.wait_ready(child, self._giving_up)
        return child

    def _complete(self) -> None:
        """From here on, what is detached stays."""
        self._state = replace(self._state, complete=True)
        write_state(self.folder, self._state)
        if self._state.detached:
            for child in self._children.values():
                child.release()


def _raise_first(errors: Iterable[BaseException | None]) -> None:
    """Raise what went wrong first, not what was given up because of it."""
    met = [error for error in errors if error is not None]
    for error in sorted(met, key=lambda error: isinstance(error, GivenUpError)):
        raise error
