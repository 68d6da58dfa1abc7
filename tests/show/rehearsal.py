"""A whole show on a clock of our own, and the real fold of it."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import fold
from pipeline.domain.partition import PartitionTally
from pipeline.domain.poll import PollId
from pipeline.domain.record import Marker, encode
from pipeline.show.expectation import MARKER, Block, Expectation, Fate
from pipeline.show.generator import Generator
from pipeline.show.script import Script

OPENED_AT = 1_790_000_000_123


@dataclass
class Log:
    """Partitions as lists of (append time, key, value)."""

    partitions: list[list[tuple[int, bytes | None, bytes | None]]]

    def publish(self, block: Block, append_ms: int) -> None:
        for key, value in zip(block.keys, block.values, strict=True):
            partition = zlib.crc32(key or value or b"") % len(self.partitions)
            self.partitions[partition].append((append_ms, key, value))

    def mark(self, marker: Marker, append_ms: int) -> None:
        for partition in self.partitions:
            partition.append((append_ms, None, encode(marker)))

    def batches(self, partition: int, size: int = 997) -> Iterator[RecordBatch]:
        times, keys, values = zip(*self.partitions[partition], strict=True)
        yield from RecordBatch.of("votes", partition, 0, times, keys, values, [()] * len(times)).split(size)


@dataclass
class Rehearsal:
    """A show that was published into a log, block by block."""

    script: Script
    seed: int = 1
    partitions: int = 1
    open_for_ms: int = 0  # how long the poll has been open at the first tick
    slowness: float = 1.0  # how many times slower than planned the publisher is
    blocks: list[Block] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)  # in the order of publishing; each marker once

    def __post_init__(self) -> None:
        script, self.log = self.script, Log([[] for _ in range(self.partitions)])
        generator = Generator(script, self.seed, opened_at=OPENED_AT)
        self.expected = generator.expectation()
        self._mark(script.opened(OPENED_AT), OPENED_AT)
        for index in range(script.ticks):
            now_ms = OPENED_AT + self.open_for_ms + int(index * script.tick_ms * self.slowness)
            self._turn(generator, index, now_ms)
            block = generator.tick(now_ms)
            self.log.publish(block, now_ms + 2_000 * (index % 3))  # the log is up to 4 s behind
            self.blocks.append(block)
            self.fates += [record.fate for record in block]
            self.expected.add(block)

    def _turn(self, generator: Generator, index: int, now_ms: int) -> None:
        if index == self.script.close_tick:
            self.closed_at = now_ms + int(self.script.notice_s * 1000 * self.slowness)
            self._mark(self.script.closed(self.closed_at), now_ms)
            generator.close(self.closed_at)
        if index == self.script.final_tick:
            self._mark(self.script.final(), now_ms)
            generator.finalize()

    def _mark(self, marker: Marker, now_ms: int) -> None:
        self.log.mark(marker, now_ms)
        self.fates.append(MARKER)
        self.expected.expect(MARKER, self.partitions)

    def folded(self) -> Expectation:
        """What the real rules make of the log."""
        found = Expectation(self.script.show_id, self.script.poll_id)
        for partition in range(self.partitions):
            tally = PartitionTally()
            for batch in self.log.batches(partition):
                tally.apply(fold(tally.state(), batch)[1])
            found.outcomes.update(tally.outcomes)
            poll = tally.polls[PollId(self.script.show_id, self.script.poll_id)]
            found.poll_outcomes.update(poll.outcomes)
            found.cells.update({(cell.window_start, cell.option_id): n for cell, n in poll.cells.items()})
        return found
