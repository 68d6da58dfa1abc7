"""Which edges are quiet. Times are ms; the quiet is 5,000."""

import msgspec

from pipeline.domain.poll import Status
from pipeline.live.edges import Edges, judge
from tests.cli.test_agreement import SHOWN

OPEN = msgspec.structs.replace(SHOWN, phase=Status.OPEN, closed_at=None)
HEARD = {"edge-b": 10_000, "edge-a": 14_000}


def quiet(edges: Edges) -> list[str]:
    return [edge.id for edge in edges.edges if edge.quiet]


def test_an_edge_is_quiet_when_it_was_not_heard_for_a_while_of_counted_time() -> None:
    # heard        b: 10          a: 14
    # counted to               14.999 15      18.999 19
    assert quiet(judge(OPEN, HEARD, 99_000, 14_999)) == []
    assert quiet(judge(OPEN, HEARD, 99_000, 15_000)) == ["edge-b"]
    assert quiet(judge(OPEN, HEARD, 99_000, 19_000)) == ["edge-a", "edge-b"]


def test_while_the_count_lags_nobody_is_quiet() -> None:
    assert quiet(judge(OPEN, HEARD, 99_000, 0)) == []


def test_after_the_end_nobody_is_quiet() -> None:
    closing = msgspec.structs.replace(OPEN, phase=Status.CLOSING, closed_at=16_000)
    assert quiet(judge(closing, HEARD, 99_000, 15_999)) == ["edge-b"]
    assert quiet(judge(closing, HEARD, 99_000, 16_000)) == []
    final = msgspec.structs.replace(closing, phase=Status.FINAL)
    assert quiet(judge(final, HEARD, 99_000, 15_999)) == []


def test_edges_stand_in_order_with_their_last_sign() -> None:
    edges = judge(OPEN, HEARD, 99_000, 15_000)
    assert [(edge.id, edge.heard_at) for edge in edges.edges] == [("edge-a", 14_000), ("edge-b", 10_000)]
    assert (edges.as_of, edges.counted_to) == (99_000, 15_000)
