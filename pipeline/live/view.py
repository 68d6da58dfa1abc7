"""What requests may see: the polls that are followed, and problems for everything else."""

from collections.abc import Callable

from starlette.requests import Request

from pipeline.domain.poll import PollId
from pipeline.domain.record import is_id
from pipeline.live.display import Shown
from pipeline.live.merger import Merger
from pipeline.web.problems import away, not_found, odd_id


class View:
    """The polls as this instance last saw them. While Redis is away they stay as they are."""

    def __init__(self, merger: Merger, is_reachable: Callable[[], bool]) -> None:
        self._merger, self._is_reachable = merger, is_reachable

    def poll_id(self, request: Request) -> PollId:
        """Read the poll's name from a path.

        Raises:
            ProblemError: it is not of the form of ids.
        """
        for name in ("show", "poll"):
            if not is_id(request.path_params[name]):
                raise odd_id(name, request.path_params[name])
        return PollId(request.path_params["show"], request.path_params["poll"])

    def shown(self, poll_id: PollId) -> Shown:
        """Give what is shown of a poll.

        Raises:
            ProblemError: there is no such poll, or nobody can say for now.
        """
        poll = self._merger.polls.get(poll_id)
        if poll is not None and poll.shown is not None:
            return poll.shown
        raise self._nothing(poll_id)

    def series(self, poll_id: PollId) -> bytes:
        """Give the encoded series of a poll's complete seconds.

        Raises:
            ProblemError: there is no such poll, or nobody can say for now.
        """
        poll = self._merger.polls.get(poll_id)
        if poll is not None and poll.series is not None:
            return poll.series
        raise self._nothing(poll_id)

    def all(self) -> list[Shown]:
        """Give what is shown of all polls, by name.

        Raises:
            ProblemError: nobody can say for now.
        """
        shown = [poll.shown for _, poll in sorted(self._merger.polls.items()) if poll.shown is not None]
        if not shown and not self._is_reachable():
            raise away("Redis does not answer, and nothing was read before")
        return shown

    def _nothing(self, poll_id: PollId) -> Exception:
        name = "/".join(poll_id)
        if self._is_reachable():
            return not_found(f"there is no poll {name}")
        return away(f"Redis does not answer, and nothing was read of {name} before")
