"""A recount goes through the log in groups of partitions that fit into ClickHouse's memory."""

import pytest

from pipeline.archive.recount import GROUP_ROWS, groups_of

HALF = GROUP_ROWS // 2


@pytest.mark.parametrize(
    ("partitions", "groups"),
    [
        ([], []),
        ([(0, 1), (3, 2)], [[0, 3]]),
        ([(0, HALF), (1, HALF), (2, 1)], [[0, 1], [2]]),
        ([(0, 1), (1, 3 * GROUP_ROWS), (2, 1)], [[0], [1], [2]]),
    ],
)
def test_partitions_are_put_together_up_to_the_limit(
    partitions: list[tuple[int, int]], groups: list[list[int]]
) -> None:
    assert list(groups_of(partitions)) == groups
