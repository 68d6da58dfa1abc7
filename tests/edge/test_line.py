"""The line: nobody is served out of turn, too late, or beyond what there is room for."""

import asyncio
import itertools
import math
import time
from dataclasses import dataclass, field

from pipeline.edge.line import LEAST_PLACES, LOOK_S, MOST_BYTES, TURN_S, Line
from pipeline.edge.pace import LOOK_BACK_S
from pipeline.edge.promises import LATEST_S
from pipeline.edge.reading import AT_ONCE, NEW_COSTS, PER_SERVED
from pipeline.web.problems import ProblemError

from .held import connections


@dataclass
class Client:
    """Somebody who waits, and what became of the requests."""

    served: list[int] = field(default_factory=list)
    refused: list[tuple[int, ProblemError]] = field(default_factory=list)
    aborted: int = 0
    room: int = 1_000_000
    serve_s: float = 0.0
    refuse_s: float = 0.0
    has_hung_up: bool = False

    def free(self) -> int:
        return self.room - len(self.served)

    def serve(self, request: int) -> None:
        work(self.serve_s)
        if request < 0:
            raise ZeroDivisionError
        self.served.append(request)

    def refuse(self, request: int, problem: ProblemError) -> None:
        work(self.refuse_s)
        self.refused.append((request, problem))

    def abort(self) -> None:
        self.aborted += 1


def work(seconds: float) -> None:
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        pass


def told_ms(problem: ProblemError) -> int:
    return int(str(problem.members["retry_after_ms"]))


async def settled(client: Client, requests: int) -> None:
    async with asyncio.timeout(10):
        while len(client.served) + len(client.refused) + client.aborted < requests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def crowded(client: Client, line: Line) -> float:
    """Have more come than can be served, until the line has seen how many can; give that (requests/s)."""
    began = asyncio.get_running_loop().time()
    numbers = itertools.count()
    while asyncio.get_running_loop().time() < began + 2.5 * LOOK_BACK_S:
        for _ in range(50):
            line.join(client, next(numbers), votes=1, size=1)
        await asyncio.sleep(0.01)
    served_per_s = len(client.served) / (asyncio.get_running_loop().time() - began)
    await settled(client, next(numbers))
    assert client.refused
    return served_per_s


async def test_requests_are_served_in_their_order_and_others_have_their_turns_between() -> None:
    client, rounds = Client(serve_s=0.0005), 0
    line = Line(client.free, wait_s=60)
    for number in range(100):
        line.join(client, number, votes=1, size=1)
    assert client.served == []  # not while connections are read
    while len(client.served) < 100:
        rounds += 1
        await asyncio.sleep(0)
    assert client.served == list(range(100))
    assert rounds >= 100 * client.serve_s / TURN_S / 2


async def test_what_has_no_room_waits_until_there_is_some() -> None:
    client = Client(room=3)
    line = Line(client.free, wait_s=60)
    for number in range(5):
        line.join(client, number, votes=1, size=1)
    await asyncio.sleep(4 * LOOK_S)
    assert client.served == [0, 1, 2]
    client.room = 5
    await settled(client, 5)
    assert (client.served, client.refused) == ([0, 1, 2, 3, 4], [])


async def test_whoever_brings_fewer_votes_than_there_might_have_been_leaves_the_room_to_others() -> None:
    client = Client(room=1000)
    line = Line(client.free, wait_s=60)
    for number in range(100):
        line.join(client, number, votes=500, size=1)
    began = asyncio.get_running_loop().time()
    await settled(client, 100)
    assert client.served == list(range(100))
    assert asyncio.get_running_loop().time() < began + 20 * LOOK_S  # two at a look would take fifty


async def test_what_has_waited_too_long_is_told_to_come_again_each_at_another_moment() -> None:
    client = Client(room=0)
    line = Line(client.free, wait_s=0.05)
    for number in range(50):
        line.join(client, number, votes=1, size=1)
    await settled(client, 50)
    assert client.served == []
    assert [number for number, _ in client.refused] == list(range(50))
    problems = [problem for _, problem in client.refused]
    assert {(problem.status, problem.kind) for problem in problems} == {(503, "overloaded")}
    assert max(map(told_ms, problems)) < 4000  # fifty are no crowd
    assert len(set(map(told_ms, problems))) > 40


async def test_the_line_is_no_longer_than_what_is_served_while_one_may_wait() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.3)
    await crowded(client, line)
    before = len(client.refused)
    for number in range(2000):
        line.join(client, number, votes=1, size=1)
    assert len(client.refused) - before == 2000 - LEAST_PLACES - 1  # at once


async def test_while_more_come_than_can_be_served_little_more_is_read_than_is_served() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.3)
    some, order = connections(3000)
    assert not line.hold(some[0])
    assert line.room_to_accept() == AT_ONCE
    await crowded(client, line)
    before = len(client.served)
    for number in range(200):
        line.join(client, number, votes=1, size=1)
    for each in some:
        assert line.hold(each)
    while len(client.served) < before + 150:
        await asyncio.sleep(0)
        assert line.room_to_accept() <= AT_ONCE / NEW_COSTS
    assert 100 < len(order) <= 2 * AT_ONCE + PER_SERVED * 150
    async with asyncio.timeout(10):  # when nobody waits any more, all are read
        while len(order) < 3000:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert sorted(order) == list(range(3000))
    for number in range(2):  # the first look sees the end of the crowd, the next one nothing of it
        await asyncio.sleep(LOOK_BACK_S)
        line.join(client, number, votes=1, size=1)
        await asyncio.sleep(0.1)
    assert not line.hold(some[0])


async def test_a_crowd_is_over_when_nobody_waits_any_more_and_not_when_nobody_is_refused() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=2)
    await crowded(client, line)
    refused, before = len(client.refused), asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < before + 3 * LOOK_BACK_S:
        for _ in range(6):
            line.join(client, 0, votes=1, size=1)
        await asyncio.sleep(0)
    assert len(client.refused) == refused
    assert line.hold(connections(1)[0][0])


async def test_how_many_could_be_served_is_forgotten_when_the_crowd_is_over() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.6)
    await crowded(client, line)
    for number in range(3):
        await asyncio.sleep(LOOK_BACK_S)
        line.join(client, number, votes=1, size=1)
        await asyncio.sleep(0.05)
    client.serve_s, before = 0.0, len(client.refused)
    for number in range(4 * LEAST_PLACES):  # many more than were served within that time
        line.join(client, number, votes=1, size=1)
    assert len(client.refused) == before


async def test_who_has_hung_up_is_served_unless_a_crowd_waits() -> None:
    client, gone = Client(serve_s=0.001), Client(has_hung_up=True)
    line = Line(client.free, wait_s=0.3)
    line.join(gone, 1, votes=1, size=1)
    await settled(gone, 1)
    await crowded(client, line)
    line.join(gone, 2, votes=1, size=1)
    line.join(client, 3, votes=1, size=1)
    await settled(gone, 2)
    assert (gone.served, [request for request, _ in gone.refused]) == ([1], [2])


async def test_where_nobody_has_to_wait_none_is_held_whatever_a_crowd_was_told_before() -> None:
    client, gone = Client(serve_s=0.001), Client(has_hung_up=True)
    line = Line(client.free, wait_s=0.3)
    await crowded(client, line)
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 3 * LOOK_BACK_S:  # some come, are served, and hang up
        line.join(client, 1, votes=1, size=1)
        line.join(gone, 2, votes=1, size=1)
        line.hold(connections(1)[0][0])
        await asyncio.sleep(0.02)
    gone.refused.clear()
    line.join(gone, 3, votes=1, size=1)
    assert not line.hold(connections(1)[0][0])
    await settled(gone, len(gone.served) + 1)
    assert gone.refused == []

    await crowded(client, line)
    await asyncio.sleep(3 * LOOK_BACK_S)  # and after it nobody at all
    line.join(gone, 4, votes=1, size=1)
    await settled(gone, len(gone.served) + 1)
    assert gone.refused == []


async def test_while_kafka_stands_still_all_are_read_and_told_so() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.3)
    await crowded(client, line)
    before = len(client.served)
    client.room = 0
    for number in range(100):
        line.join(client, number, votes=1, size=1)
    some, order = connections(3000)
    for each in some:
        line.hold(each)
    async with asyncio.timeout(5):
        while len(order) < 3000:
            line.join(client, 0, votes=1, size=1)  # the line is not empty meanwhile
            await asyncio.sleep(0.001)
    assert len(client.served) == before


async def test_while_all_come_too_late_no_more_are_read() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.3)
    await crowded(client, line)
    some, order = connections(3000)
    for each in some:
        line.hold(each)
    for number in range(400):
        line.join(client, number, votes=1, size=1)
    client.refuse_s, before = 0.001, len(client.refused)
    time.sleep(0.6)  # noqa: ASYNC251  # the whole process stands still
    async with asyncio.timeout(5):
        while len(client.refused) < before + 300:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert len(order) <= AT_ONCE


async def test_who_is_to_come_again_is_promised_a_turn_behind_those_who_were_told_so_before() -> None:
    client = Client(serve_s=0.001)
    line = Line(client.free, wait_s=0.3)
    served_per_s = await crowded(client, line)
    before = len(client.refused)
    for number in range(LATEST_S * 1000 + 2000):
        line.join(client, number, votes=1, size=1)
    told = [told_ms(problem) / 1000 for _, problem in client.refused[before:]]
    first = math.ceil(told[0]) + 1
    promised = next(index for index, each in enumerate(told) if each > LATEST_S)
    for second in range(first, LATEST_S):  # no more are promised a second than can be served in one
        assert 0 < sum(second <= each < second + 1 for each in told[:promised]) <= 1.5 * served_per_s
    # All others come at some time in the later half, and not at once.
    assert {int(each) for each in told[promised:]} >= set(range(LATEST_S // 2 + 1, LATEST_S))
    assert max(told) <= 1 + LATEST_S


async def test_a_bug_ends_one_connection_and_not_the_line() -> None:
    client = Client()
    line = Line(client.free, wait_s=60)
    for number in (1, -1, 2):
        line.join(client, number, votes=1, size=1)
    await settled(client, 3)
    assert (client.served, client.aborted) == ([1, 2], 1)


async def test_what_waits_has_a_bound_in_bytes() -> None:
    client = Client(room=0)
    line = Line(client.free, wait_s=60)
    for number in range(10):
        line.join(client, number, votes=1, size=MOST_BYTES // 4)
    assert [number for number, _ in client.refused] == [4, 5, 6, 7, 8, 9]
    client.room = 10
    await settled(client, 10)
    line.join(client, 10, votes=1, size=MOST_BYTES)
    await settled(client, 11)
    assert client.served == [0, 1, 2, 3, 10]
