"""Who is read on: in their order, or those who were held last when the others wait too long to be in time."""

import time

import pytest

from pipeline.edge.reading import AT_ONCE, LONG_S, LONGEST_EVERY, NEW_COSTS, Reading, earned

from .held import Connection, connections


@pytest.fixture
def crowd() -> tuple[list[Connection], list[int]]:
    return connections(100)


@pytest.fixture
def held(crowd: tuple[list[Connection], list[int]]) -> list[Connection]:
    return crowd[0]


@pytest.fixture
def order(crowd: tuple[list[Connection], list[int]]) -> list[int]:
    return crowd[1]


@pytest.fixture
def reading(held: list[Connection]) -> Reading:
    found = Reading()
    for each in held:
        found.hold(each)
    return found


def test_who_is_held_reads_on_in_order_and_half_is_left_to_new_connections(reading: Reading, order: list[int]) -> None:
    reading.go_on(60.0, time.monotonic())
    assert order == list(range(30))
    assert reading.room() == 30 // NEW_COSTS
    for _ in range(10):
        reading.accepted()
    assert reading.room() == 0
    reading.go_on(2.0, time.monotonic())
    assert order == list(range(31))


def test_who_was_held_last_comes_first_when_others_wait_for_long_but_each_of_them_once(
    reading: Reading, order: list[int]
) -> None:
    reading.go_on(2.0 * 4 * LONGEST_EVERY, time.monotonic() + LONG_S + 1)
    longest = order[LONGEST_EVERY - 1 :: LONGEST_EVERY]
    assert longest == [0, 1, 2, 3]
    assert [each for each in order if each not in longest] == list(range(99, 99 - 4 * (LONGEST_EVERY - 1), -1))
    reading.go_on(float("inf"), time.monotonic() + LONG_S + 1)
    assert sorted(order) == list(range(100))


def test_new_connections_have_their_share_also_where_very_little_is_served(reading: Reading) -> None:
    for _ in range(2 * NEW_COSTS):
        reading.go_on(1.0, time.monotonic())
    assert reading.room() == 1


def test_where_no_new_ones_come_all_that_may_be_read_is_of_those_who_are_held(
    reading: Reading, order: list[int]
) -> None:
    reading.go_on(2.0 * AT_ONCE, time.monotonic())  # as many new ones as may come at once do not
    for number in range(100, 100 + AT_ONCE):
        reading.hold(Connection(number, order))
    reading.go_on(0.0, time.monotonic())
    left = len(reading)
    assert left == 100
    reading.go_on(60.0, time.monotonic())
    assert len(reading) == left - 60


def test_who_has_ended_is_not_read_on(reading: Reading, held: list[Connection], order: list[int]) -> None:
    reading.leave(held[0])
    reading.leave(held[0])
    reading.go_on(4.0, time.monotonic())
    assert order == [1, 2]
    assert len(reading) == 97


def test_what_may_be_read_is_no_more_than_comes_at_once(reading: Reading) -> None:
    reading.go_on(float("inf"), time.monotonic())
    assert len(reading) == 0
    for _ in range(3):
        reading.go_on(float("inf"), time.monotonic())
    assert reading.room() == AT_ONCE // NEW_COSTS


def test_to_refuse_takes_a_small_part_of_the_time() -> None:
    """It costs half of what it costs to serve one vote, and a tenth of what it costs to serve an array of a hundred."""
    assert (earned(100) - 1) * 0.5 <= 0.125
    assert (earned(11_000) - 1) * 0.1 <= 0.15
