"""The world: some partitions, some workers, and every step that a driver may ask for; each leaves the invariants to be checked.

A step that finds nothing to do says so by False. Its numbers are taken modulo what there is, so that any will do.
"""

import random as global_random
from random import Random
from typing import Protocol, TypeVar

from .votes import SimulatedLog
from .wire import Call
from .worker import PARTITIONS, Worker

WORKERS, RECORDS = 3, 120
CALM_ROUNDS = 60  # of half a second each: longer than every back-off, pause and look together

T = TypeVar("T")


class InvariantError(AssertionError):
    """An invariant does not hold."""


class Part(Protocol):
    """A server that can lose what it had."""

    def save(self) -> None: ...

    def roll_back(self, copy: int) -> bool: ...

    def wipe(self) -> None: ...


class World:
    """What the tally's and the archive's world have in common. Each adds its part, and what must hold in it."""

    def __init__(self, seed: int, part: Part) -> None:
        self.part = part
        global_random.seed(seed)  # tenacity's back-off draws from there
        self.log = SimulatedLog(Random(seed), PARTITIONS, RECORDS)
        self.workers = [self.begun(f"worker {number}") for number in range(WORKERS)]
        self.owners = [number % WORKERS for number in range(PARTITIONS)]
        self.orphans: list[Call] = []  # calls whose caller died or was cut off: a part may still perform them
        self._restarts = 0
        for partition, owner in enumerate(self.owners):
            self.workers[owner].assign([partition])

    def begun(self, name: str) -> Worker:
        """Start a worker."""
        raise NotImplementedError

    def check(self) -> None:
        """Check what must hold after every step.

        Raises:
            InvariantError: it does not.
        """
        for worker in self.workers:
            if problems := [*worker.app.crashes, *worker.loop.errors]:
                raise InvariantError(f"{worker.name} stopped: {problems[0]}")

    def reached(self, partition: int) -> int:
        """Give the offset up to which the part has a partition."""
        raise NotImplementedError

    def close(self) -> None:
        """End all workers."""
        for worker in self.workers:
            if worker.alive:
                worker.kill()

    # The log and the consumers.

    def produce(self, partition: int, records: int) -> bool:
        """Append some records."""
        return self.log.append(partition % PARTITIONS, records)

    def deliver(self, worker: int, choice: int, records: int) -> bool:
        """Let a worker fetch some records from where its consumer is."""
        taker = self._running(worker)
        if taker is None or not taker.held:
            return False
        partition = _pick(taker.held, choice)
        start = taker.log.positions[partition]
        stop = min(self.log.ends[partition], start + records)
        if start >= stop:
            return False
        taker.log.positions[partition] = stop
        taker.take(self.log.delivery(partition, start, stop))
        return True

    def redeliver(self, worker: int, partition: int, start: int, records: int) -> bool:
        """Let a worker have a batch from anywhere: fetched before a seek or a rebalance, and still on its way."""
        taker, partition = self._running(worker), partition % PARTITIONS
        end = self.log.ends[partition]
        if taker is None or not end:
            return False
        start %= end
        taker.take(self.log.delivery(partition, start, min(end, start + records)))
        return True

    # The network.

    def answer(self, worker: int, choice: int) -> bool:
        """Perform a call, if it was not yet, and bring the answer."""
        call = self._call(worker, choice, take=True)
        if call is None:
            return False
        call.answer()
        self.workers[worker % WORKERS].live(0.0)
        return True

    def perform(self, worker: int, choice: int) -> bool:
        """Perform a call. The answer is on its way."""
        call = self._call(worker, choice, take=False)
        if call is None or call.performed:
            return False
        call.perform()
        return True

    def cut(self, worker: int, choice: int) -> bool:
        """Cut the connection of a call: before it was performed, or in mid reply."""
        call = self._call(worker, choice, take=True)
        if call is None:
            return False
        call.cut()
        if not call.performed:
            self.orphans.append(call)
        self.workers[worker % WORKERS].live(0.0)
        return True

    def arrive_late(self, choice: int) -> bool:
        """Perform a call whose caller is gone."""
        if not self.orphans:
            return False
        self.orphans.pop(choice % len(self.orphans)).perform()
        return True

    # The part.

    def save(self) -> bool:
        """Let the part keep a copy of itself."""
        self.part.save()
        return True

    def roll_back(self, copy: int) -> bool:
        """Bring the part back to a copy."""
        return self.part.roll_back(copy)

    def wipe(self) -> bool:
        """Empty the part."""
        self.part.wipe()
        return True

    # Time and processes.

    def wait(self, seconds: float) -> bool:
        """Let time pass everywhere. Calls take none by themselves."""
        for worker in self.workers:
            if worker.alive:
                worker.live(seconds)
        return True

    def crash(self, worker: int) -> bool:
        """Kill a worker. Another process takes its place, and has nothing yet."""
        number = worker % WORKERS
        dead = self.workers[number]
        dead.kill()
        self.orphans += [call for call in dead.wire.calls if not call.performed]
        self._restarts += 1
        self.workers[number] = self.begun(f"worker {number}, restart {self._restarts}")
        return True

    def freeze(self, worker: int) -> bool:
        """Stop a worker as SIGSTOP does: a zombie, once its partitions are given to others."""
        sleeper = self._running(worker)
        if sleeper is None:
            return False
        sleeper.frozen = True
        return True

    def wake(self, worker: int) -> bool:
        """Let a frozen worker go on, in the belief that nothing happened."""
        sleeper = self.workers[worker % WORKERS]
        if not sleeper.frozen:
            return False
        sleeper.wake()
        return True

    def hand_over(self, partition: int, worker: int) -> bool:
        """Give a partition to a worker that runs. Who had it hears of it if it runs, or when it takes ``notice``."""
        taker, partition, number = self._running(worker), partition % PARTITIONS, worker % WORKERS
        if taker is None or partition in taker.held:
            return False
        before, self.owners[partition] = self.owners[partition], number
        self.notice(before)
        taker.assign([partition])
        return True

    def notice(self, worker: int) -> bool:
        """Tell a worker what it has lost."""
        loser = self._running(worker)
        if loser is None:
            return False
        lost = [partition for partition in loser.held if self.owners[partition] != worker % WORKERS]
        if lost:
            loser.revoke(lost)
        return bool(lost)

    def calm(self) -> bool:
        """Let all faults end and time pass: then everything must be caught up.

        Raises:
            InvariantError: it is not.
        """
        for number in range(WORKERS):
            self.wake(number)
            self.notice(number)
        self.orphans.clear()
        for partition, owner in enumerate(self.owners):
            if partition not in self.workers[owner].held:
                self.workers[owner].assign([partition])
        for _ in range(CALM_ROUNDS):
            self._settle()
            if [self.reached(partition) for partition in range(PARTITIONS)] == self.log.ends and self._is_quiet():
                return True
            self.wait(0.5)
        reached = [self.reached(partition) for partition in range(PARTITIONS)]
        raise InvariantError(f"stalled at {reached}, the log ends at {self.log.ends}")

    def _settle(self) -> None:
        """Answer every call and deliver every record, until nobody asks any more."""
        moved = True
        while moved:
            moved = False
            for number in range(WORKERS):
                while self.answer(number, 0) or any(self.deliver(number, choice, 50) for choice in range(PARTITIONS)):
                    moved = True
            self.check()

    def _is_quiet(self) -> bool:
        return not any(worker.wire.calls for worker in self.workers)

    def _running(self, worker: int) -> Worker | None:
        found = self.workers[worker % WORKERS]
        return found if found.runs else None

    def _call(self, worker: int, choice: int, *, take: bool) -> Call | None:
        """Find an open call of a worker. Those that timed out meanwhile become orphans."""
        wire = self.workers[worker % WORKERS].wire
        self.orphans += [call for call in wire.calls if call.abandoned and not call.performed]
        wire.calls = [call for call in wire.calls if not call.abandoned]
        if not wire.calls:
            return None
        index = choice % len(wire.calls)
        return wire.calls.pop(index) if take else wire.calls[index]


def _pick(options: list[T], choice: int) -> T:
    return options[choice % len(options)]
