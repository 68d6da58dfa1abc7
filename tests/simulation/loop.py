"""An event loop without I/O, whose clock stands still unless it is moved: the time of one simulated process."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready, and what becomes ready in the time that it is given. Pending timers cost no waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._now = self._until = 0.0
        self._selector = self  # what asyncio asks for I/O, and how long it may wait for it
        self.errors: list[str] = []  # that nobody handled
        self.set_exception_handler(
            lambda _, context: self.errors.append(str(context.get("exception", context["message"])))
        )

    def time(self) -> float:
        """Give the simulated time, in seconds."""
        return self._now

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, with all that happens in it."""
        self._until = self._now + seconds
        self.run_forever()

    def select(self, timeout: float | None) -> list[Any]:
        """Wait for I/O, says asyncio, until the next timer at most (None: there is none). So the clock jumps there."""
        if self._now == self._until and timeout != 0:
            self.stop()  # nothing is ready any more
        else:
            self._now = min(self._until, self._now + (self._until if timeout is None else timeout))
        return []

    def _process_events(self, _events: list[Any]) -> None:
        """Do nothing: there is no I/O."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task, as far as it goes without time passing."""
        self.create_task(coroutine)
        self.advance()

    def within(self, call: Callable[..., object], *arguments: object) -> None:
        """Call something that needs a running loop."""
        self.call_soon(call, *arguments)
        self.advance()

    def kill(self) -> None:
        """End the process: nothing that was under way goes on."""
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.advance()
        self.close()
