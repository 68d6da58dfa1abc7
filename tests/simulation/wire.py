"""The network: calls on their way from a worker to a part, and answers on their way back. Nothing moves by itself."""

import asyncio
from collections.abc import Callable
from typing import Any

from pipeline.errors import UnavailableError


class Call:
    """A request, and the place where its caller waits for the answer."""

    def __init__(self, perform: Callable[["Call"], Any]) -> None:
        self._perform = perform
        self._reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answer: Any = None
        self._error: UnavailableError | None = None
        self.performed = False

    @property
    def abandoned(self) -> bool:
        """Whether its caller has stopped waiting: cut off, timed out or dead. The part may perform it all the same."""
        return self._reply.done()

    def perform(self) -> None:
        """Let the part do it, once."""
        if self.performed:
            return
        self.performed = True
        try:
            self._answer = self._perform(self)
        except UnavailableError as error:
            self._error = error

    def answer(self) -> None:
        """Bring the answer to the caller."""
        self.perform()
        if self._reply.done():
            return
        if self._error is None:
            self._reply.set_result(self._answer)
        else:
            self._reply.set_exception(self._error)

    def cut(self) -> None:
        """Let the caller wait in vain: the connection broke, and nobody can know whether the part did it."""
        if not self._reply.done():
            self._reply.set_exception(UnavailableError("the connection was cut"))

    async def answered(self) -> Any:
        """Wait for the answer."""
        return await self._reply


class Wire:
    """The open calls of one worker, in the order in which it made them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def call(self, perform: Callable[[Call], Any]) -> Any:
        """Send a request and wait for its answer.

        Raises:
            UnavailableError: there is none.
        """
        call = Call(perform)
        self.calls.append(call)
        return await call.answered()
