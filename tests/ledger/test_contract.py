"""What a ledger promises, whichever it is: the same suite runs on the model and on the script in a real Redis."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from importlib.resources import files
from random import Random

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import MAX_EDGES, Chunk, PartitionState, fold
from pipeline.domain.partition import Answer
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote
from pipeline.errors import RedisMismatchError
from pipeline.ledger.command import MAX_RECORDS
from pipeline.ledger.ledger import Ledger
from pipeline.settings import Settings
from tests.domain.logs import OPENED_AT, batch_of, throw_log
from tests.domain.test_timelines import OPENED, at, vote

from .books import PARTITION, Book, ModelBook, RedisBook

SONG, SEMI = PollId("finale", "song"), PollId("finale", "semi")


def batch(seed: int, size: int) -> RecordBatch:
    whole = batch_of(throw_log(Random(seed), size))
    return replace(whole, topic="votes", partition=PARTITION)


def chunks(whole: RecordBatch, size: int) -> list[Chunk]:
    state, made = PartitionState(whole.first_offset), []
    for piece in whole.split(size):
        state, chunk = fold(state, piece)
        made.append(chunk)
    return made


async def assert_same(one: Book, other: Book) -> None:
    state = await one.state()
    assert state == await other.state()
    assert await one.outcomes() == await other.outcomes()
    for poll_id in (SONG, SEMI):
        assert await one.reading(poll_id) == await other.reading(poll_id)
        if state is not None and poll_id in state.polls:
            assert await one.edges(poll_id) == await other.edges(poll_id)
            assert await one.remembered(poll_id) == await other.remembered(poll_id)


async def test_any_log_is_counted_as_by_the_model(book: Book) -> None:
    # On the model itself this compares chunk sizes: 7 at a time, and all at once.
    for seed in range(12):
        whole, model = batch(seed, 400), ModelBook()
        for chunk in chunks(whole, 10_000):
            assert (await model.apply(chunk))[0] is Answer.APPLIED
        fresh = await _fresh(book)
        for chunk in chunks(whole, 7):
            assert (await fresh.apply(chunk))[0] is Answer.APPLIED
        await assert_same(fresh, model)


async def test_a_chunk_that_was_applied_changes_nothing_when_it_comes_again(book: Book) -> None:
    made, model = chunks(batch(1, 300), 50), ModelBook()
    for number, chunk in enumerate(made):
        assert (await book.apply(chunk))[0] is Answer.APPLIED
        await model.apply(chunk)
        for earlier in made[: number + 1]:
            assert (await book.apply(earlier))[0] is Answer.SEEN
    await assert_same(book, model)


async def test_an_overlap_and_a_gap_change_nothing(book: Book) -> None:
    whole, model = batch(2, 300), ModelBook()
    first, _second, third, *_ = chunks(whole, 50)
    state, _ = fold(PartitionState(0), next(whole.split(50)))
    assert (await book.apply(third))[0] is Answer.GAP
    assert (await book.apply(first))[0] is Answer.APPLIED
    assert (await book.apply(third))[0] is Answer.GAP
    _, both = fold(PartitionState(0), next(whole.split(70)))
    assert (await book.apply(both))[0] is Answer.OVERLAP
    _, rest = fold(state, next(whole.since(50).split(20)))
    assert (await book.apply(rest))[0] is Answer.APPLIED
    await model.apply(both)
    await assert_same(book, model)


async def test_the_first_thousand_edges_of_a_poll_are_heard(book: Book) -> None:
    # chunk    |0 ... 699|700 ... 1399|1400 ... 2099|    of 1,050 edges, twice around
    # edges     700 new    300 new      those known: 1,000 in all, however many are in a chunk
    entries = [at(0, OPENED), *(at(number, _of_edge(number, number % 1_050)) for number in range(2_100))]
    whole = batch_of(entries)
    for size in (701, 1_900):
        fresh = await _fresh(book)
        for chunk in chunks(replace(whole, partition=PARTITION), size):
            assert (await fresh.apply(chunk))[0] is Answer.APPLIED
        heard = await fresh.edges(SONG)
        assert heard == {f"edge-{number}": OPENED_AT + 1_050 + number for number in range(MAX_EDGES)}


async def test_as_many_edges_as_a_chunk_has_records(book: Book) -> None:
    entries = [at(0, OPENED), *(at(number, _of_edge(number, number)) for number in range(500 + MAX_RECORDS))]
    whole = replace(batch_of(entries), partition=PARTITION)
    state, first = fold(PartitionState(0), whole.until(501))
    _, second = fold(state, whole.since(501))
    for chunk in (first, second):
        assert (await book.apply(chunk))[0] is Answer.APPLIED
    assert await book.edges(SONG) == {f"edge-{number}": OPENED_AT + number for number in range(MAX_EDGES)}


def _of_edge(number: int, edge: int) -> Vote:
    return msgspec.structs.replace(vote(number, number), edge_id=f"edge-{edge}")


async def test_one_vote_more_is_noticed(book: Book) -> None:
    # The negative control: were the comparison blind, everything above would pass.
    made, model = chunks(batch(3, 300), 50), ModelBook()
    for chunk in made:
        await book.apply(chunk)
        await model.apply(chunk)
    tally = next(iter(model.tally.polls.values()))
    tally.totals["ada"] += 1
    try:
        await assert_same(book, model)
    except AssertionError:
        return
    raise RuntimeError("two ledgers that differ were taken for the same")


SEEDS = (0, 1, 2, 3, 4, 5, 16, 21)  # in the last two, a vote comes again in the epoch after its own
HISTORY = ("apply",) * 14 + ("save", "save", "roll_back", "wipe", "create", "create")


async def live_through(book: Book, seeds: Iterable[int], steps: int = 50) -> list[Answer]:
    """Let a ledger and the model have the same history, whatever it is: what they say and hold is always the same."""
    answers = []
    for seed in seeds:
        random, whole, model = Random(seed), batch(seed, 250), ModelBook()
        states = states_of(whole)
        await book.wipe()
        for both in (book, model):
            await both.create()
            await both.save()
        for _ in range(steps):
            match random.choice(HISTORY):
                case "apply":
                    chunk = thrown_chunk(random, whole, states, model.tally.next_offset)
                    answer = await book.apply(chunk)
                    assert answer == await model.apply(chunk)
                    answers.append(answer[0])
                case step:
                    for both in (book, model):
                        await getattr(both, step)()
            await assert_same(book, model)
    return answers


def states_of(whole: RecordBatch) -> list[PartitionState]:
    """Give the state before each record."""
    states = [PartitionState(0)]
    for record in whole.split(1):
        states.append(fold(deepcopy(states[-1]), record)[0])
    return states


def thrown_chunk(random: Random, whole: RecordBatch, states: list[PartitionState], next_offset: int) -> Chunk:
    """Make the chunk of a worker that is where the ledger is, or before or behind it."""
    start = next_offset + random.choice((0, 0, 0, 0, 0, -1, -9, -40, 1, 20))
    start = min(max(start, 0), len(whole) - 1)
    piece = next(whole.since(start).split(random.choice((1, 2, 9, 30, 60))))
    return fold(deepcopy(states[start]), piece)[1]


async def test_any_history_is_the_same_in_both(book: Book) -> None:
    # Repeats, overlaps and gaps, going back to a copy, nothing left at all: what the simulation does to its model.
    assert set(await live_through(book, SEEDS)) == set(Answer)


BENT = [
    ("if next_offset < 0 then", "if false then"),
    ("chunk.next_offset <= next_offset", "chunk.next_offset < next_offset"),
    ("chunk.first_offset ~= next_offset", "chunk.first_offset > next_offset"),
    ("chunk.first_offset ~= next_offset", "chunk.first_offset < next_offset"),
    ("chunk.first_offset < next_offset and", "chunk.first_offset > next_offset and"),
    ("'clock_ms', string.format('%.0f', chunk.clock_ms)", "'clock_ms', 0"),
    ("redis.call('SADD', KEYS[2], poll.name)", ""),
    ("redis.call('HINCRBY', KEYS[hash.key], field, number)", "redis.call('HSET', KEYS[hash.key], field, number)"),
    ("redis.call('RPUSH', KEYS[key], ARGV[1 + index])", ""),
    ("redis.call('RPUSH', KEYS[key], ARGV[1 + index])", "redis.call('LPUSH', KEYS[key], ARGV[1 + index])"),
    ("redis.call('RPUSH', KEYS[key], ARGV[1 + index])", "redis.call('RPUSH', KEYS[key], ARGV[2])"),
    ("redis.call('HSET', KEYS[poll.key], voter, votes)", ""),
    ("redis.call('UNLINK', KEYS[key])", ""),
]


@pytest.mark.real
@pytest.mark.parametrize(("line", "bent"), BENT)
async def test_a_bent_script_is_noticed(client: Redis, found: Settings, line: str, bent: str) -> None:
    straight = (files("pipeline.ledger") / "apply.lua").read_text("utf-8")
    assert line in straight
    book = RedisBook(client, found.topic)
    book.ledger._apply = client.register_script(straight.replace(line, bent))
    try:
        await live_through(book, SEEDS)
    except (AssertionError, ValueError, ResponseError, RedisMismatchError):
        return
    raise RuntimeError("nothing was noticed")


@pytest.mark.real
async def test_a_ledger_that_moves_while_it_is_read_is_read_again(
    client: Redis, found: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = chunks(batch(4, 300), 100)
    book, ledger, model = RedisBook(client, found.topic), Ledger(client, found.topic), ModelBook()
    await book.create()
    for chunk in (first, *others):
        await model.apply(chunk)
    await book.apply(first)
    recall = ledger._recall

    async def recall_slowly(partition: int, state: PartitionState) -> None:
        await recall(partition, state)
        if others:
            await book.apply(others.pop(0))

    monkeypatch.setattr(ledger, "_recall", recall_slowly)
    assert await ledger.load(PARTITION) == await model.state()


@pytest.mark.real
async def test_what_was_kept_is_taken_up_again_only_where_the_ledger_is(client: Redis, found: Settings) -> None:
    whole, book = batch(5, 300), RedisBook(client, found.topic)
    await book.create()
    first, second, *_ = whole.split(150)
    half, chunk = fold(PartitionState(0), first)
    await book.apply(chunk)
    assert await book.ledger.load(PARTITION, half) is half
    ahead, chunk = fold(half, second)  # the worker is ahead: its call was lost, say
    behind = await book.ledger.load(PARTITION, ahead)
    assert behind is not ahead
    assert behind == fold(PartitionState(0), first)[0]
    await book.apply(chunk)
    assert await book.ledger.load(PARTITION, ahead) is ahead


async def _fresh(book: Book) -> Book:
    """Empty a ledger."""
    await book.wipe()
    await book.create()
    return book
