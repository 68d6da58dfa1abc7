"""How much of Redis a counted vote takes, and how long a script: `python -m bench.memory --votes 10000000`.

Redis alone, fed with chunks as a tally worker makes them. 3 % of the records are repeats of earlier vote ids; every voter
uses all their votes.
"""

import asyncio
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import typer

from bench.measuring import console, report, settings_of, system
from pipeline.domain.fold import Cell, Chunk, VoteGroup
from pipeline.domain.outcome import Outcome
from pipeline.domain.partition import Answer
from pipeline.domain.poll import Poll, PollId, open_poll
from pipeline.domain.record import Option, PollOpened
from pipeline.ledger.connection import connect
from pipeline.ledger.ledger import Ledger
from pipeline.local.stack import Part
from pipeline.settings import Settings

CHUNK_RECORDS = 1500
REPEATS = 45  # of a chunk's records
POLL = PollId("bench", "poll")


def main(votes: int = 10_000_000, partitions: int = 12, votes_per_voter: int = 1, steps: int = 5) -> None:
    """Measure, as often as there are `steps` on the way to all votes."""
    with system(Part.REDIS) as stack:
        rows = asyncio.run(_fill(settings_of(stack, "memory", partitions=partitions), votes, votes_per_voter, steps))
    report("memory", rows, {"partitions": partitions, "votes_per_voter": votes_per_voter})


async def _fill(found: Settings, votes: int, votes_per_voter: int, steps: int) -> list[dict[str, object]]:
    client = connect(found)
    ledger = Ledger(client, found.topic)
    for partition in range(found.partitions):
        await ledger.create(partition, 0)
    empty = (await client.info("memory"))["used_memory"]
    chunks = [_chunks(partition, votes_per_voter) for partition in range(found.partitions)]
    rows: list[dict[str, object]] = []
    counted = records = 0
    for step in range(1, steps + 1):
        await client.config_resetstat()
        before, started = records, time.monotonic()
        while counted < votes * step // steps:
            reply = await ledger.apply(next(chunks[records // CHUNK_RECORDS % found.partitions]))
            if reply.answer is not Answer.APPLIED or reply.decided[Outcome.DUPLICATE] < REPEATS:
                raise SystemExit("WRONG: a repeat was counted; these figures count for nothing")
            counted += reply.decided[Outcome.COUNTED]
            records += CHUNK_RECORDS
        memory, script = await client.info("memory"), (await client.info("commandstats"))["cmdstat_evalsha"]
        rows.append(
            {
                "counted": counted,
                "bytes_per_counted": (memory["used_memory"] - empty) / counted,
                "used_mb": memory["used_memory"] / 1e6,
                "resident_mb": memory["used_memory_rss"] / 1e6,
                "script_ms": script["usec_per_call"] / 1000,
                "script_us_per_record": script["usec"] / (records - before),
                "seconds": time.monotonic() - started,
            }
        )
        console.print(rows[-1], highlight=False)
    await client.aclose()
    return rows


def _chunks(partition: int, votes_per_voter: int) -> Iterator[Chunk]:
    """Give one partition's chunks without end."""
    rng = random.Random(partition)
    poll: list[Poll] = [open_poll(PollOpened(*POLL, 0, (Option("ada"), Option("bo")), votes_per_voter))]
    cells, offset, fresh = [Cell("ada", 0), Cell("bo", 0)], 0, CHUNK_RECORDS - REPEATS
    said = b""
    while True:
        ids = rng.randbytes(16 * fresh)
        said = said or ids[: 16 * REPEATS]
        people = [voter for voter in _voters(rng, CHUNK_RECORDS // votes_per_voter + 1) for _ in range(votes_per_voter)]
        group = VoteGroup(
            POLL, 0, votes_per_voter, ids + said, people[:CHUNK_RECORDS], cells, rng.choices((0, 1), k=CHUNK_RECORDS)
        )
        yield Chunk(partition, offset, offset + CHUNK_RECORDS, 0, {}, {}, {}, [group], poll, [])
        offset, poll, said = offset + CHUNK_RECORDS, [], ids[-16 * REPEATS :]


def _voters(rng: random.Random, count: int) -> list[str]:
    """Make voter ids as the edge does: 22 characters of base64url."""
    text = urlsafe_b64encode(rng.randbytes(18 * count)).decode()
    return [text[start : start + 22] for start in range(0, 24 * count, 24)]


if __name__ == "__main__":
    typer.run(main)
