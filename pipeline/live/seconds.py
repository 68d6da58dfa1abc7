"""The short series of complete seconds of a poll: a plain object that is asked about time.

A vote that was delivered later than the lateness still counts in its second. So the newest seconds are read again each
time one is complete, and all of the series now and then and in the end: the hash of windows may hold hours, and is never read
whole.
"""

from collections.abc import Mapping

import msgspec

from pipeline.domain.fold import Cell
from pipeline.domain.window import window_start
from pipeline.live.completeness import WINDOW_MS

SERIES_MS = 120_000
REVISED_MS = 10_000  # how much is read each second
WHOLE_EVERY_MS = 10_000  # and how often everything is


class Series(msgspec.Struct, frozen=True):
    """The votes of consecutive complete seconds, oldest first. `votes[i][j]`: of option j in the second first + i * window."""

    show_id: str
    poll_id: str
    first: int  # ms since the epoch
    complete_to: int
    window_ms: int
    options: tuple[str, ...]
    votes: tuple[tuple[int, ...], ...]


class Seconds:
    """The series of one poll."""

    def __init__(self, option_ids: tuple[str, ...], opened_at: int) -> None:
        self.option_ids = option_ids
        self.complete_to = self._opened = window_start(opened_at, WINDOW_MS)
        self._rows: dict[int, tuple[int, ...]] = {}
        self._whole_at: int | None = None
        self._ended = False

    def wanted(self, complete_to: int, *, final: bool = False) -> range:
        """Name the seconds to read, now that all before `complete_to` are complete. Empty: nothing new is in them."""
        if complete_to <= self.complete_to and (self._ended or not final):
            return range(0)
        whole = final or self._whole_at is None or complete_to >= self._whole_at + WHOLE_EVERY_MS
        first = complete_to - SERIES_MS if whole else min(self.complete_to, complete_to - REVISED_MS)
        return range(max(self._opened, first, complete_to - SERIES_MS), complete_to, WINDOW_MS)

    def take(self, starts: range, cells: Mapping[Cell, int], *, final: bool = False) -> None:
        """Take what was read of the wanted seconds. A second without votes is a second with zeros."""
        self._ended = self._ended or final
        for start in starts:
            self._rows[start] = tuple(cells.get(Cell(option_id, start), 0) for option_id in self.option_ids)
        self.complete_to = starts.stop
        first = max(self._opened, starts.stop - SERIES_MS)
        if starts.start <= first:
            self._whole_at = starts.stop
        self._rows = {start: row for start, row in sorted(self._rows.items()) if first <= start < starts.stop}

    def series(self, show_id: str, poll_id: str) -> Series:
        """Give the series as it is shown."""
        first = min(self._rows, default=self.complete_to)
        rows = tuple(self._rows.values())
        return Series(show_id, poll_id, first, self.complete_to, WINDOW_MS, self.option_ids, rows)
