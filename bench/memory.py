"""How much memory a counted vote takes, in Redis and in a worker, and how long a script: `python -m bench.memory`.

Redis alone, fed with chunks as a tally worker makes them, with ``PollMemory`` deciding them. 3 % of the records are repeats of
earlier vote ids; every voter uses all their votes. At last a worker's memory is read from Redis, and must be the same.
"""

import asyncio
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Annotated

import numpy as np
import typer

from bench.measuring import console, report, settings_of, system
from pipeline.domain.fold import Cell, Chunk
from pipeline.domain.memory import PollMemory, VoterIds
from pipeline.domain.native import compile_all
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer
from pipeline.domain.poll import Poll, PollId, open_poll
from pipeline.domain.record import VOTE_ID_BYTES, Option, PollOpened
from pipeline.domain.rows import overflow_to, rows_of
from pipeline.ledger.connection import connect
from pipeline.ledger.ledger import Ledger
from pipeline.local.stack import Part
from pipeline.settings import Settings
from pipeline.tally.files import Files

CHUNK_RECORDS = 1500
REPEATS = 45  # of a chunk's records
POLL = PollId("bench", "poll")


def main(
    votes: int = 10_000_000,
    partitions: int = 12,
    votes_per_voter: int = 1,
    steps: int = 5,
    remembered_mb: Annotated[
        float, typer.Option(help="What a worker may have in memory before it uses files; a worker's own default.")
    ] = Settings().remembered_bytes / (1 << 20),
) -> None:
    """Measure, as often as there are `steps` on the way to all votes."""
    remembered_bytes = int(remembered_mb * (1 << 20))
    overflow_to(Files(None).make, most_bytes=remembered_bytes)
    with system(Part.REDIS) as stack:
        found = settings_of(stack, "memory", partitions=partitions)
        rows = asyncio.run(_fill(found, votes, votes_per_voter, steps, remembered_bytes))
    report(
        "memory", rows, {"partitions": partitions, "votes_per_voter": votes_per_voter, "remembered_mb": remembered_mb}
    )


async def _fill(
    found: Settings, votes: int, votes_per_voter: int, steps: int, remembered_bytes: int
) -> list[dict[str, object]]:
    client = connect(found)
    ledger = Ledger(client, found.topic)
    for partition in range(found.partitions):
        await ledger.create(partition, 0)
    empty = (await client.info("memory"))["used_memory"]
    memories = [PollMemory(votes_per_voter) for _ in range(found.partitions)]
    chunks = [_chunks(partition, memory) for partition, memory in enumerate(memories)]
    rows: list[dict[str, object]] = []
    counted = records = 0
    for step in range(1, steps + 1):
        await client.config_resetstat()
        before, started = records, time.monotonic()
        while counted < votes * step // steps:
            chunk = next(chunks[records // CHUNK_RECORDS % found.partitions])
            if (await ledger.apply(chunk)).answer is not Answer.APPLIED or chunk.outcomes[Outcome.DUPLICATE] < REPEATS:
                raise SystemExit("WRONG: a repeat was counted; these figures count for nothing")
            counted += chunk.outcomes[Outcome.COUNTED]
            records += CHUNK_RECORDS
        used, script = await client.info("memory"), (await client.info("commandstats"))["cmdstat_evalsha"]
        rows.append(
            {
                "counted": counted,
                "bytes_per_counted": (used["used_memory"] - empty) / counted,
                "used_mb": used["used_memory"] / 1e6,
                "resident_mb": used["used_memory_rss"] / 1e6,
                "worker_mb": sum(memory.nbytes for memory in memories) / 1e6,
                "worker_bytes_per_counted": sum(memory.nbytes for memory in memories) / counted,
                "worker_file_bytes_per_counted": sum(memory.filed_bytes for memory in memories) / counted,
                "script_ms": script["usec_per_call"] / 1000,
                "script_us_per_record": script["usec"] / (records - before),
                "load_s": await _load_elsewhere(found, remembered_bytes, [len(memory) for memory in memories]),
                "seconds": time.monotonic() - started,
            }
        )
        console.print(rows[-1], highlight=False)
    await client.aclose()
    return rows


async def _load_elsewhere(found: Settings, remembered_bytes: int, sizes: list[int]) -> float:
    """Read all ledgers as a worker does that begins, in a process that remembers nothing; give the seconds that it took."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        loading = process.submit(_load, found, remembered_bytes)
        seconds, loaded = await asyncio.wrap_future(loading)
    if loaded != sizes:
        raise SystemExit("WRONG: what was read is not what was remembered; these figures count for nothing")
    return seconds


def _load(found: Settings, remembered_bytes: int) -> tuple[float, list[int]]:
    """Give how long it took, and how much is remembered of each partition."""

    async def load() -> tuple[float, list[int]]:
        client = connect(found)
        ledger = Ledger(client, found.topic)
        began = time.monotonic()
        states = [await ledger.load(partition) for partition in range(found.partitions)]
        seconds = time.monotonic() - began
        await client.aclose()
        return seconds, [0 if state is None else len(state.memory[POLL]) for state in states]

    compile_all()
    overflow_to(Files(None).make, most_bytes=remembered_bytes)
    return asyncio.run(load())


def _chunks(partition: int, memory: PollMemory) -> Iterator[Chunk]:
    """Give one partition's chunks without end."""
    rng, votes_per_voter = random.Random(partition), memory.votes_per_voter
    poll: list[Poll] = [open_poll(PollOpened(*POLL, 0, (Option("ada"), Option("bo")), votes_per_voter))]
    offset, fresh, said = 0, CHUNK_RECORDS - REPEATS, b""
    while True:
        ids = rng.randbytes(16 * fresh)
        said = said or ids[: 16 * REPEATS]
        people = _voters(rng, CHUNK_RECORDS // votes_per_voter + 1).repeat(votes_per_voter)
        decided = memory.decide(0, rows_of(ids + said, VOTE_ID_BYTES), people[:CHUNK_RECORDS])
        outcomes = {Outcome.COUNTED: decided.counted, Outcome.DUPLICATE: decided.duplicate}
        yield Chunk(
            partition=partition,
            first_offset=offset,
            next_offset=offset + CHUNK_RECORDS,
            clock_ms=0,
            outcomes=outcomes,
            poll_outcomes={POLL: outcomes},
            counted={POLL: {Cell("ada", 0): decided.counted}},
            edges={},
            polls=poll,
            remembered=[(POLL, decided.remembered)],
            forgotten=[],
        )
        offset, poll, said = offset + CHUNK_RECORDS, [], ids[-16 * REPEATS :]


def _voters(rng: random.Random, count: int) -> VoterIds:
    """Make voter ids as the edge does: 22 characters of base64url."""
    text = np.frombuffer(urlsafe_b64encode(rng.randbytes(18 * count)), "S24")
    return text.astype("S22")


if __name__ == "__main__":
    typer.run(main)
