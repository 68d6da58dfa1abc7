"""Rules 3 to 7, which need no memory, for a run of votes at a time: each rule is a column of what it refuses.

A *run* is of well-formed votes between which no poll changes. What polls ask of them is looked up once for each kind of vote.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.domain.columns import Columns
from pipeline.domain.outcome import Outcome
from pipeline.domain.poll import NEVER, Poll, PollId
from pipeline.domain.record import MAX_AGE_MS, MAX_AHEAD_MS
from pipeline.domain.rows import Places
from pipeline.domain.strings import Numbers, Strings

RULES = (
    Outcome.COUNTED,  # unless rules 8 to 10 say otherwise
    Outcome.WRONG_KEY,
    Outcome.POLL_NOT_OPEN,
    Outcome.UNKNOWN_OPTION,
    Outcome.LATE,
    Outcome.IMPLAUSIBLE_TIME,
)


class Run:
    """Votes in the order of the log, in columns.

    Attributes:
        vote_ids, voter_ids, cast_at: as in ``Columns``.
        append_times, clocks: of each vote, and the latest append time of its partition so far, in ms.
        kinds: what they may be for and come from; `polls`: of each kind; `kind_of`: the index of each vote's kind.
    """

    def __init__(
        self,
        columns: Columns,
        places: Places,
        keys: Strings,
        append_times: Numbers,
        clocks: Numbers,
    ) -> None:
        self.vote_ids, self.voter_ids = columns.vote_ids[places], columns.voter_ids[places]
        self.cast_at, self.kind_of = columns.cast_at[places], columns.kind_of[places]
        self.append_times, self.clocks = append_times[places], clocks[places]
        self.keys = keys.take(places)
        self.kinds = columns.kinds
        self.polls = [PollId(kind.show_id, kind.poll_id) for kind in self.kinds]

    def refusals(self, polls: Mapping[PollId, Poll]) -> NDArray[np.int8]:
        """Give for each vote the index in ``RULES`` of the first rule that refuses it; 0: none of these does."""
        asked = [polls.get(poll_id) for poll_id in self.polls]
        opened_at = np.array([NEVER if poll is None else poll.rules.opened_at for poll in asked])
        ends_at = np.array([NEVER if poll is None else poll.ends_at for poll in asked])
        is_option = np.array(
            [
                poll is not None and kind.option_id in poll.option_ids
                for kind, poll in zip(self.kinds, asked, strict=True)
            ]
        )
        age = self.append_times - self.cast_at
        refused = (
            ~self.keys.are(self.voter_ids),
            self.cast_at < opened_at.take(self.kind_of),
            ~is_option.take(self.kind_of),
            self.cast_at >= ends_at.take(self.kind_of),
            (age > MAX_AGE_MS) | (age < -MAX_AHEAD_MS),
        )
        refusals = np.zeros(len(self.cast_at), np.int8)
        for number in range(len(refused), 0, -1):  # an earlier rule is written over a later one
            refusals[refused[number - 1]] = number
        return refusals
