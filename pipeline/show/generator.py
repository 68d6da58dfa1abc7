"""A show, tick by tick: what to publish, in which order, and what an exact counter must make of it.

Who votes for what in which order is a function of the script and the seed. The instants are the caller's, for the log's
broker compares them with its own clock. The caller's part::

    send script.opened(opened_at) to every partition, wait for the acknowledgements
    for index in range(script.ticks):
        wait until it is time for the tick
        before script.close_tick:  send script.closed(closed_at), and tell ``close``
        before script.final_tick:  send script.final(), and tell ``finalize``
        publish the block of ``tick(now_ms)``, and add it to the expectation when all of it is acknowledged

What makes the plan certain: per partition, records and markers get into the log in the order of publishing (one
idempotent publisher; or all acknowledged before a marker is sent). A voter's votes have one key, hence one partition. A
record is in the log within 30 s of its tick. The poll is new, and nobody else publishes votes of this seed.
"""

from collections.abc import Sequence
from itertools import cycle
from random import Random

from pipeline.domain.outcome import Outcome
from pipeline.show.ballots import Ballots
from pipeline.show.clock import Clock
from pipeline.show.expectation import Block, Expectation, Fate, Planned
from pipeline.show.forms import UNUSUAL
from pipeline.show.script import Script
from pipeline.show.strays import Quota, Strays
from pipeline.show.voters import Voters

_LATE = Fate(Outcome.LATE)
_DUPLICATE = Fate(Outcome.DUPLICATE)
_REMEMBERED = (
    4096  # votes that may be sent again: a sample of the last 20 s, so that memory does not grow with the rate
)
_REMEMBERED_OF_TICK = 16
_LATE_BEFORE_CLOSE = 0.01  # of the votes between announcement and close, those from a clock that is ahead


class Generator:
    """Plans a show's records. Two with the same script, seed and instants plan the same."""

    def __init__(self, script: Script, seed: int, *, opened_at: int) -> None:
        self.script = script
        self.clock = Clock(opened_at, opened_at)
        self._index = 0
        self._rng = Random(seed)  # noqa: S311  # a show is to be repeated, not to be kept secret
        self._voters = Voters(f"{seed}/{script.show_id}/{script.poll_id}", script.voters, script.votes_per_voter)
        self._ballots = Ballots(script.show_id, script.poll_id, script.options)
        self._strays = Strays(script, self._rng, self._voters, self.clock, self._ballots)
        self._quota = Quota(script.shares)
        self._unusual = cycle(UNUSUAL.values())
        self._sent: list[tuple[int, bytes | None, bytes | None]] = []  # cast_at, key, value; all reached rule 8

    def expectation(self) -> Expectation:
        """Give an empty expectation of this show, to which the caller adds what was acknowledged."""
        return Expectation(self.script.show_id, self.script.poll_id)

    def close(self, closed_at: int) -> None:
        """Plan from here on what follows the marker that announces the close (ms since the epoch).

        Raises:
            ValueError: the last tick was at or after that instant, or a close was announced already.
        """
        self.clock.close(closed_at)

    def finalize(self) -> None:
        """Plan from here on what follows the final marker.

        Raises:
            ValueError: no close was announced: the marker would be ignored.
        """
        if self.clock.closed_at is None:
            raise ValueError("only a closed poll becomes final")
        self.clock.final = True

    def tick(self, now_ms: int) -> Block:
        """Plan the next tick's records, to be published now (ms since the epoch).

        Raises:
            ValueError: the show is over, or time went backwards.
        """
        if self._index >= self.script.ticks:
            raise ValueError(f"the show has {self.script.ticks} ticks, and they are over")
        self.clock.advance(now_ms)
        count = self.script.records_in(self._index)
        self._index += 1
        dealt = self._quota.deal(count)
        strays = self._strays.make(dealt)
        old_repeats = self._old_repeats((dealt["repeats"] + self._rng.getrandbits(1)) // 2)
        strays += old_repeats
        votes = count - len(strays)
        repeats = min(dealt["repeats"] - len(old_repeats), votes // 2)
        block, in_time = self._ordinary(votes - repeats, dealt["unusual"])
        again = self._new_repeats(block, repeats)
        self._remember(block, in_time, strays)
        self._mix(block, strays)
        _append(block, again)
        self._voters.settle()
        return block

    def _ordinary(self, count: int, unusual: int) -> tuple[Block, int]:
        """Give votes as they should be, and how many of them, from the first on, are in time."""
        block = Block()
        cast_at, late = self.clock.in_time(), self._late_among(count)
        in_time = 0 if cast_at is None else count - late
        if cast_at is not None:
            self._cast(block, in_time, cast_at)
        too_late = self.clock.too_late(self._rng)
        if too_late is not None and late:
            self._cast_late(block, count - in_time, too_late)
        # Each of another vote: an odd form of an odd form may be none.
        for position in self._rng.sample(range(count), min(unusual, count)):
            block.values[position] = next(self._unusual)(block.values[position] or b"")
        return block, in_time

    def _late_among(self, count: int) -> int:
        clock = self.clock
        if clock.closed_at is None:
            return 0
        if clock.in_time() is None:
            return count
        share = _LATE_BEFORE_CLOSE if clock.now_ms < clock.closed_at else self.script.late_after_close
        return min(count, int(count * share + self._rng.random()))

    def _cast(self, block: Block, count: int, cast_at: int) -> None:
        voters, within = self._voters.take(count)
        choices = self._rng.randbytes(count)
        second = cast_at - cast_at % 1000
        block.fates += [Fate(Outcome.COUNTED, option_id=each, second=second) for each in self._ballots.option_ids]
        block.fates.append(Fate(Outcome.OVER_LIMIT))  # of those who are not within the limit
        block.keys += voters
        block.values += self._ballots.votes(self._rng, voters, choices, cast_at)
        block.fate_of += choices.translate(self._ballots.option_of)
        block.fate_of[within:] = [len(self._ballots.option_ids)] * (count - within)

    def _cast_late(self, block: Block, count: int, cast_at: int) -> None:
        voters = self._voters.anyone(self._rng, count)
        block.fate_of += [len(block.fates)] * count
        block.fates.append(_LATE)
        block.keys += voters
        block.values += self._ballots.votes(self._rng, voters, self._rng.randbytes(count), cast_at)

    def _old_repeats(self, count: int) -> list[Planned]:
        """Send votes of earlier ticks again. Those that are too old by now are left out."""
        if not count or not self._sent:
            return []
        oldest = self.clock.now_ms - int(self.script.repeat_within_s * 1000)
        fate = _LATE if self.clock.final else _DUPLICATE
        chosen = self._rng.choices(self._sent, k=count)
        return [Planned(key, value, fate) for cast_at, key, value in chosen if cast_at >= oldest]

    def _new_repeats(self, block: Block, count: int) -> list[Planned]:
        """Send votes of this tick again, after them."""
        if not len(block):
            return []
        positions = self._rng.choices(range(len(block)), k=count)
        is_late = [block.fates[block.fate_of[position]] is _LATE for position in positions]
        return [
            Planned(block.keys[position], block.values[position], _LATE if late else _DUPLICATE)
            for position, late in zip(positions, is_late, strict=True)
        ]

    def _remember(self, block: Block, in_time: int, strays: Sequence[Planned]) -> None:
        """Keep some votes that reached rule 8 to send them again: of the block's first ones, and one over the limit."""
        cast_at = self.clock.in_time()
        if cast_at is None:
            return
        kept = self._rng.sample(range(in_time), min(_REMEMBERED_OF_TICK, in_time))
        votes = [(cast_at, block.keys[position], block.values[position]) for position in kept]
        over = next((each for each in strays if each.fate.outcome is Outcome.OVER_LIMIT), None)
        if over is not None:
            votes.append((cast_at, over.key, over.value))
        for vote in votes:
            if len(self._sent) < _REMEMBERED:
                self._sent.append(vote)
            else:
                self._sent[self._rng.randrange(_REMEMBERED)] = vote

    def _mix(self, block: Block, strays: Sequence[Planned]) -> None:
        """Put strays anywhere among the votes. None of them hangs on a vote of the same block."""
        for stray, fate in zip(strays, _indexes(block, strays), strict=True):
            position = int(self._rng.random() * (len(block) + 1))
            block.keys.insert(position, stray.key)
            block.values.insert(position, stray.value)
            block.fate_of.insert(position, fate)


def _append(block: Block, records: Sequence[Planned]) -> None:
    block.fate_of += _indexes(block, records)
    block.keys += [record.key for record in records]
    block.values += [record.value for record in records]


def _indexes(block: Block, records: Sequence[Planned]) -> list[int]:
    """Add the records' fates to the block's; give their indexes. Neighbours mostly share one."""
    indexes = []
    last: Fate | None = None
    for record in records:
        if record.fate is not last:
            block.fates.append(record.fate)
            last = record.fate
        indexes.append(len(block.fates) - 1)
    return indexes
