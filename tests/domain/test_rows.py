"""The set of rows beside Python's own: the same answers, whatever is asked of it, and however rows are hashed."""

from random import Random

import numpy as np
import pytest

from pipeline.domain import rows as module
from pipeline.domain import table as tables
from pipeline.domain.rows import RowSet, overflow_to, rows_of
from pipeline.tally.files import Files


def keys(each: int) -> np.ndarray:
    """Give keys by which the sum of a row's words, shifted, is its hash."""
    made = np.full(len(module._KEYS), each, np.uint64)
    made[-1] = 1
    made.flags.writeable = False
    return made


KEYS = {"its own": module._KEYS, "one hash for all": keys(0), "four hashes": keys(1 << 62)}


@pytest.fixture(params=KEYS)
def hashing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(module, "_KEYS", KEYS[request.param])
    return str(request.param)


@pytest.fixture(params=["in memory", "in one file", "in many files", "with some of its index in memory"])
def placing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have rows put into files when the table in memory is full, or has more than some bytes."""
    if request.param != "in memory":
        monkeypatch.setattr(module, "_overflow", module._overflow)  # as it was, afterwards
        monkeypatch.setattr(module, "MERGED", 0 if request.param == "in many files" else float("inf"))
        monkeypatch.setattr(tables, "MOVED_AT_ONCE", 50)
        monkeypatch.setattr(tables, "LOOKED_AT_ONCE", 7)
        monkeypatch.setattr(tables, "MAPPED_BYTES", 1)
        monkeypatch.setattr(module, "NEW_SHARE", 0)
        most_bytes = 1500 if request.param == "with some of its index in memory" else 0
        overflow_to(Files(None).make, most_bytes=most_bytes, least_rows=1)
    return str(request.param)


def thrown(random: Random, width: int, space: int, size: int) -> list[bytes]:
    """Throw strings, some of which are equal, and many of which differ in their last byte only."""
    return [random.randrange(space).to_bytes(width) for _ in range(size)]


@pytest.mark.parametrize("width", [1, 8, 16, 17, 32, 49])
def test_it_answers_as_a_set_does(width: int, hashing: str, placing: str) -> None:
    files, index, far = list[int](), list[int](), 0
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
        files.append(len(table._filed))
        index.append(table.index_nbytes)
        far += sum(not table._is_index_small for table in table._filed)
    assert (sum(map(bool, files)) > 3) == (placing != "in memory")
    assert (max(files) > 1) == (placing == "in many files")
    if placing == "with some of its index in memory":
        assert max(index) > 0 or hashing != "its own", "tables of rows that meet are large"
    else:
        assert (far > 0) == (placing != "in memory")
        assert max(index) == 0


@pytest.mark.usefixtures("hashing", "placing")
def test_numbers_stay_with_their_rows_while_it_grows() -> None:
    random, table, known = Random(7), RowSet(17, number_bytes=3), dict[bytes, int]()
    for _ in range(40):
        given = list(dict.fromkeys(thrown(random, 17, 900, 70)))
        places, added = table.add(rows_of(b"".join(given), 17))
        before = np.zeros((len(given), 4), np.uint8)
        for which, numbers_there, at in table.numbers_at(places):
            before[which, :3] = numbers_there[at]
        assert before.view("<u4").reshape(-1).tolist() == [known.get(each, 0) for each in given]
        assert added.tolist() == [each not in known for each in given]
        numbers = [random.randrange(1, 1 << 20) for _ in given]
        table.put_numbers(places, np.array(numbers))
        known |= dict(zip(given, numbers, strict=True))
    rows, numbers_of_rows = table.rows()
    assert {row.tobytes(): int(number) for row, number in zip(rows, numbers_of_rows, strict=True)} == known


def test_where_the_table_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that all belong to its last places, more than there are behind these: it grows until there is room."""
    towards_the_end = keys(0)
    towards_the_end.flags.writeable = True
    towards_the_end[:2] = 1 << 40, 1 << 32
    towards_the_end.flags.writeable = False
    monkeypatch.setattr(module, "_KEYS", towards_the_end)
    random, table, known = Random(1), RowSet(16), set[bytes]()
    for size in (1, 80, 200, 200, 200):
        given = [
            (0xFFF000 + random.randrange(0xFFF)).to_bytes(4, "little") + random.randbytes(1) + bytes(11)
            for _ in range(size)
        ]
        given += random.choices(given, k=5)
        places, added = table.add(rows_of(b"".join(given), 16))
        assert added.tolist() == [each not in known and each not in given[:at] for at, each in enumerate(given)]
        assert [table._near.rows[place].tobytes() for place in places] == given
        known.update(given)
        assert {row.tobytes() for row in table.rows()[0]} == known
        assert not table._near.tags[-1], "where a search ends"
    assert table._near.homes > 4 * len(known) / module.MAX_LOAD


def test_what_does_not_fit_is_not_moved() -> None:
    random = Random(1)
    table = grown([random.randbytes(16) for _ in range(500)])
    near, rows, tags = table._near, np.empty((100, 16), np.uint8), np.zeros(100, np.uint8)
    assert not tables._move(near.rows, near.tags, near.numbers, table._keys, 50, rows, tags, near.numbers[:100])
    assert not tags[-1]


def grown(ids: list[bytes]) -> RowSet:
    """Put ids into a set, and make sure that none stood so far from its place that the table had to grow for it."""
    table = RowSet(16)
    for start in range(0, len(ids), 1000):
        table.add(rows_of(b"".join(ids[start : start + 1000]), 16))
    assert len(table) == len(ids)
    assert table._near.homes < (len(ids) + 1000) * module.GROWTH / module.MAX_LOAD
    return table


@pytest.mark.parametrize("size", [1000, 30_000, 100_000, 200_000])
def test_it_takes_little_memory(size: int) -> None:
    random = Random(1)
    table = grown([random.randbytes(16) for _ in range(size)])
    assert table.nbytes / len(table) < 17 * module.GROWTH / module.MAX_LOAD + 17 * (1000 + tables.SPARE) / size


MOST_BYTES, LEAST_ROWS, ROWS = 1 << 20, 64, 500


@pytest.mark.parametrize(
    "order",
    [[0] * 900, [*range(6)] * 150, [*range(100)] * 9, [0] * 60 + [1] * 840, [*range(100)] * 2 + [0] * 700],
    ids=["one set", "some", "many", "one after another", "many that wait, and one"],
)
def test_all_sets_together_never_take_more_memory_than_they_may(
    order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows come, and to whichever set. What they take beyond it is a table of each that is not worth a file."""
    monkeypatch.setattr(module, "_overflow", module._overflow)  # as it was, afterwards
    overflow_to(Files(None).make, most_bytes=MOST_BYTES, least_rows=LEAST_ROWS)
    generator, sets = np.random.default_rng(1), [RowSet(16, number_bytes=1) for _ in range(max(order) + 1)]
    for number in order:
        sets[number].add(rows_of(generator.bytes(16 * ROWS), 16))
        assert sum(each.nbytes for each in sets) <= MOST_BYTES + 18 * len(sets) * (module.LEAST_PLACES + tables.SPARE)
    assert sum(map(len, sets)) == len(order) * ROWS
    assert sum(each.filed_bytes for each in sets) > 8 * MOST_BYTES
    assert all(len(each._filed) < 8 for each in sets)
    nearest = sum(each.index_nbytes for each in sets)
    assert nearest > MOST_BYTES / 8, "what has room in memory is there"


@pytest.mark.parametrize("shift", [0, 32, 64, 100])
def test_ids_that_resemble_each_other_are_spread(shift: int) -> None:
    """Counted up, in either half, as some clients make their ids."""
    grown([(number << shift).to_bytes(16) for number in range(50_000)])


@pytest.mark.parametrize("shift", [0, 12, 22, 40, 54])
def test_ids_of_few_bits_in_each_half_are_spread(shift: int) -> None:
    """Nobody can choose ids that meet: sums of products of whole words of 64 bits would be the same for most of these."""
    halves = [number << shift for number in range(256)]
    grown([one.to_bytes(8, "little") + other.to_bytes(8, "little") for one in halves for other in halves])
