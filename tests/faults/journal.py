"""A show's journal: the instants from which its every record follows, each written down before it is published.

A publisher that was killed reads there what it was about to send, and what of it was acknowledged; the oracle reads there
what was planned. The records themselves need not be written: who votes for what is a function of script, seed and instants.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.domain.outcome import Outcome
from pipeline.domain.record import Marker, Vote, encode
from pipeline.show.expectation import Block, Fate
from pipeline.show.generator import Generator
from pipeline.show.script import Script

HOUR_MS = 3_600_000
ASTRAY = 200  # votes of an edge whose clock is wrong, each way

Kind = Literal["opened", "tick", "closed", "final", "astray"]


class Entry(msgspec.Struct, frozen=True):
    """A step of the show, at an instant (ms since the epoch)."""

    kind: Kind
    at: int


class Acknowledged(msgspec.Struct, frozen=True):
    """All steps before this number are in the log."""

    steps: int


@dataclass
class Journal:
    """The steps so far, and how many of them were acknowledged. With a file, it outlives its writer."""

    file: Path | None = None
    entries: list[Entry] = field(default_factory=list)
    acknowledged: int = 0

    @classmethod
    def read(cls, file: Path) -> "Journal":
        """Read what a writer has left; of a line that it could not finish, nothing."""
        self = cls(file)
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            if not line.endswith(b"\n"):
                break
            read = msgspec.json.decode(line, type=dict[str, object])
            if "steps" in read:
                self.acknowledged = msgspec.convert(read, Acknowledged).steps
            else:
                self.entries.append(msgspec.convert(read, Entry))
        return self

    def write(self, entry: Entry) -> None:
        """Note a step that is about to be published."""
        self.entries.append(entry)
        self._append(entry)

    def acknowledge(self, steps: int) -> None:
        """Note that the first so many steps were acknowledged."""
        self.acknowledged = steps
        self._append(Acknowledged(steps))

    def _append(self, line: msgspec.Struct) -> None:
        if self.file is None:
            return
        with self.file.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Step:
    """What to publish: a marker into every partition, or a block of records."""

    marker: Marker | None
    block: Block


class Rehearsal:
    """Makes the steps of a show out of the entries of its journal, always the same ones."""

    def __init__(self, script: Script, seed: int) -> None:
        self.script, self._seed = script, seed
        self._generator: Generator | None = None

    def steps(self, entries: Iterable[Entry]) -> list[Step]:
        """Give the steps of entries that follow those of the calls before."""
        return [self._step(entry) for entry in entries]

    def _step(self, entry: Entry) -> Step:
        if entry.kind == "opened":
            self._generator = Generator(self.script, self._seed, opened_at=entry.at)
            return _marked(self.script.opened(entry.at))
        assert self._generator is not None, "a show begins with its opening"
        if entry.kind == "closed":
            self._generator.close(entry.at)
            return _marked(self.script.closed(entry.at))
        if entry.kind == "final":
            self._generator.finalize()
            return _marked(self.script.final())
        if entry.kind == "astray":
            return Step(None, self._astray(self._generator, entry.at))
        return Step(None, self._generator.tick(entry.at))

    def _astray(self, generator: Generator, now_ms: int) -> Block:
        """Give good votes whose edge's clock is an hour ahead or behind. The rules refuse them all, each for its reason."""
        block = Block()
        generator.clock.advance(now_ms)
        for cast_at in (now_ms + HOUR_MS, now_ms - HOUR_MS):
            refusal = generator.clock.refusal(cast_at)
            assert refusal is not None
            block.fates.append(Fate(refusal))
            for number in range(ASTRAY):
                voter = f"astray-{now_ms}-{number}"
                vote = Vote(
                    vote_id=f"{abs(cast_at) % 2**32:08x}-0000-4000-a000-{number:012x}",
                    show_id=self.script.show_id,
                    poll_id=self.script.poll_id,
                    option_id=self.script.options[0].option_id,
                    voter_id=voter,
                    cast_at=cast_at,
                    edge_id="edge-astray",
                    channel="app",
                )
                block.keys.append(voter.encode())
                block.values.append(encode(vote))
                block.fate_of.append(len(block.fates) - 1)
        return block


def _marked(marker: Marker) -> Step:
    return Step(marker, Block())


def fate_of_copy(fate: Fate) -> Fate:
    """Tell what becomes of a record that is in the log once more than planned, right behind itself.

    A vote whose id reached rule 8 is a duplicate the next time; everything else is refused again for the same reason.
    """
    if fate.outcome in {Outcome.COUNTED, Outcome.OVER_LIMIT, Outcome.DUPLICATE}:
        return Fate(Outcome.DUPLICATE, fate.of_poll)
    return fate
