"""The set of rows beside Python's own: the same answers, whatever is asked of it, and however rows are hashed."""

from random import Random

import numpy as np
import pytest

from pipeline.domain import rows as module
from pipeline.domain.rows import RowSet, rows_of


def _one_hash(rows: module.Rows) -> module.Hashes:
    return np.zeros(len(rows), np.uint64)


def _few_hashes(rows: module.Rows) -> module.Hashes:
    last = rows.view(np.uint8).reshape(-1, rows.dtype.itemsize)[:, -1]
    return (last % 3).astype(np.uint64) << np.uint64(62)


HASHES = {"its own": module._hashes, "one for all": _one_hash, "three": _few_hashes}


@pytest.fixture(params=HASHES)
def hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "_hashes", HASHES[request.param])
    return str(request.param)


def thrown(random: Random, width: int, space: int, size: int) -> list[bytes]:
    """Throw strings, some of which are equal, and many of which differ in their last byte only."""
    return [random.randrange(space).to_bytes(width) for _ in range(size)]


@pytest.mark.usefixtures("hashing")
@pytest.mark.parametrize("width", [1, 8, 16, 17, 32, 49])
def test_it_answers_as_a_set_does(width: int) -> None:
    for seed in range(12):
        random, table, known = Random(seed), RowSet(width), set[bytes]()
        space = random.choice([3, 60, 256, 100_000]) if width > 2 else 256
        for size in random.choices([0, 1, 2, 30, 300], k=12):
            asked = thrown(random, width, space, size)
            assert table.has(rows_of(b"".join(asked), width)).tolist() == [each in known for each in asked]
            given = thrown(random, width, space, size)
            expected = [each not in known and each not in given[:index] for index, each in enumerate(given)]
            places, added = table.add(rows_of(b"".join(given), width))
            assert added.tolist() == expected
            assert len({*zip(given, places.tolist(), strict=True)}) == len(set(given)) == len(set(places.tolist()))
            known.update(given)
            assert len(table) == len(known)
        assert {row.tobytes() for row in table.rows()[0]} == known


@pytest.mark.usefixtures("hashing")
def test_numbers_stay_with_their_rows_while_it_grows() -> None:
    random, table, known = Random(7), RowSet(17, numbered=True), dict[bytes, int]()
    for _ in range(40):
        given = list(dict.fromkeys(thrown(random, 17, 900, 70)))
        places, added = table.add(rows_of(b"".join(given), 17))
        assert [int(number) for number in table.numbers[places]] == [known.get(each, 0) for each in given]
        assert added.tolist() == [each not in known for each in given]
        numbers = [random.randrange(1, 1 << 20) for _ in given]
        table.numbers[places] = numbers
        known |= dict(zip(given, numbers, strict=True))
    rows, numbers_of_rows = table.rows()
    assert {row.tobytes(): int(number) for row, number in zip(rows, numbers_of_rows, strict=True)} == known


def test_it_takes_little_memory() -> None:
    random, table = Random(1), RowSet(16)
    for _ in range(200):
        table.add(rows_of(random.randbytes(16 * 1000), 16))
    assert table.nbytes / len(table) < 2 * 18 / module.MAX_LOAD
    assert len(table._unfit) < 0.01 * len(table)


def test_ids_that_resemble_each_other_are_spread() -> None:
    """Counted up, in either half, as some clients make their ids: hardly more of them do not fit."""
    for shift in (0, 32, 64, 100):
        table = RowSet(16)
        for start in range(0, 50_000, 1000):
            ids = b"".join((number << shift).to_bytes(16) for number in range(start, start + 1000))
            table.add(rows_of(ids, 16))
        assert len(table._unfit) < 0.05 * len(table), shift


@pytest.mark.parametrize("shift", [0, 12, 22, 40, 54])
def test_ids_of_few_bits_in_each_half_are_spread(shift: int) -> None:
    """Nobody can choose ids that meet: sums of products of whole words of 64 bits would be the same for most of these."""
    table = RowSet(16)
    for high in range(256):
        halves = ((high << shift, low << shift) for low in range(256))
        table.add(
            rows_of(b"".join(one.to_bytes(8, "little") + other.to_bytes(8, "little") for one, other in halves), 16)
        )
    assert len(table) == 1 << 16
    assert len(table._unfit) < 0.05 * len(table)
