"""What a ledger promises, whichever it is: the same suite runs on the model and on the script in a real Redis."""

import random
from dataclasses import replace

import msgspec

from pipeline.domain.batch import RecordBatch
from pipeline.domain.fold import MAX_EDGES, Chunk, PartitionState, fold
from pipeline.domain.partition import Answer
from pipeline.domain.poll import PollId
from pipeline.domain.record import Vote
from tests.domain.logs import OPENED_AT, batch_of, throw_log
from tests.domain.test_timelines import OPENED, at, vote

from .books import PARTITION, Book, ModelBook

SONG, SEMI = PollId("finale", "song"), PollId("finale", "semi")


def batch(seed: int, size: int) -> RecordBatch:
    whole = batch_of(throw_log(random.Random(seed), size))
    return RecordBatch(
        "votes", PARTITION, whole.first_offset, whole.append_times, whole.keys, whole.values, whole.headers
    )


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
            assert await model.apply(chunk) is Answer.APPLIED
        fresh = await _fresh(book)
        for chunk in chunks(whole, 7):
            assert await fresh.apply(chunk) is Answer.APPLIED
        await assert_same(fresh, model)


async def test_a_chunk_that_was_applied_changes_nothing_when_it_comes_again(book: Book) -> None:
    made, model = chunks(batch(1, 300), 50), ModelBook()
    for number, chunk in enumerate(made):
        assert await book.apply(chunk) is Answer.APPLIED
        await model.apply(chunk)
        for earlier in made[: number + 1]:
            assert await book.apply(earlier) is Answer.SEEN
    await assert_same(book, model)


async def test_an_overlap_and_a_gap_change_nothing(book: Book) -> None:
    whole, model = batch(2, 300), ModelBook()
    first, _second, third, *_ = chunks(whole, 50)
    state, _ = fold(PartitionState(0), next(whole.split(50)))
    assert await book.apply(third) is Answer.GAP
    assert await book.apply(first) is Answer.APPLIED
    assert await book.apply(third) is Answer.GAP
    _, both = fold(PartitionState(0), next(whole.split(70)))
    assert await book.apply(both) is Answer.OVERLAP
    _, rest = fold(state, next(whole.since(50).split(20)))
    assert await book.apply(rest) is Answer.APPLIED
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
            assert await fresh.apply(chunk) is Answer.APPLIED
        heard = await fresh.edges(SONG)
        assert heard == {f"edge-{number}": OPENED_AT + 1_050 + number for number in range(MAX_EDGES)}


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


async def _fresh(book: Book) -> Book:
    """Give a ledger of the same kind without anything in it."""
    if isinstance(book, ModelBook):
        return ModelBook()
    await book.client.flushdb()  # type: ignore[attr-defined]
    await book.ledger.create(PARTITION, 0)  # type: ignore[attr-defined]
    return book
