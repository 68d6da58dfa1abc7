"""The expectation as a value: sums, merging, JSON."""

import orjson
import pytest

from pipeline.domain.outcome import Outcome
from pipeline.show.expectation import MARKER, Block, Expectation, Fate

ADA, BO = (Fate(Outcome.COUNTED, option_id=option, second=5_000) for option in ("ada", "bo"))


def small() -> Expectation:
    expected = Expectation("s", "p")
    expected.add(Block([b"a", b"b", b"c"], [b"1", b"2", b"3"], [ADA, Fate(Outcome.LATE)], [0, 0, 1]))
    expected.expect(BO)
    expected.expect(MARKER, 6)
    return expected


def test_sums() -> None:
    expected = small()
    assert (expected.records, expected.counted) == (10, 3)
    assert expected.totals == {"ada": 2, "bo": 1}
    assert expected.expected_total("ada") == 2
    assert expected.expected_total("cy") == 0
    assert expected.seconds == {5_000: {"ada": 2, "bo": 1}}
    assert expected.outcomes == {Outcome.COUNTED: 3, Outcome.LATE: 1, Outcome.MARKER: 6}
    assert expected.poll_outcomes == {Outcome.COUNTED: 3, Outcome.LATE: 1}


def test_two_publishers_are_one_show() -> None:
    merged = small()
    merged.merge(small())
    assert merged.totals == {"ada": 4, "bo": 2}
    assert merged.records == 2 * small().records
    assert merged.poll_outcomes[Outcome.LATE] == 2


def test_another_poll_is_not_merged() -> None:
    with pytest.raises(ValueError, match="s/p is not s/q"):
        small().merge(Expectation("s", "q"))


def test_json_there_and_back() -> None:
    again = Expectation.from_json(small().to_json())
    assert again == small()
    assert again.differences(small()) == []
    assert again.to_json() == small().to_json()


def test_json_that_contradicts_itself_is_refused() -> None:
    read = orjson.loads(small().to_json())
    read["totals"]["ada"] += 1
    with pytest.raises(ValueError, match="sums"):
        Expectation.from_json(orjson.dumps(read))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"show_id": 1}'])
def test_other_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Expectation.from_json(text)
