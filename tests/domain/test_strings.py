"""A column of strings in one buffer is the list of them, and can be laid out as rows."""

import random

import numpy as np
import pytest

from pipeline.domain.strings import Strings, join_strings

SOME = [b"one", None, b"", b"three\0", b"\0", b"a longer one", None]


def inside(strings: list[bytes | None]) -> Strings:
    """Make a column whose buffer has other things around each string."""
    parts, starts, at = [], [], 0
    for string in strings:
        parts += [b"\xff\xfe", string or b""]
        starts.append(at + 2)
        at += 2 + len(string or b"")
    lengths = [-1 if string is None else len(string) for string in strings]
    return Strings(b"".join(parts), np.array(starts, np.int64), np.array(lengths, np.int64))


@pytest.mark.parametrize("made", [Strings.of, inside])
def test_it_is_the_list(made) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    column = made(SOME)
    assert column == SOME
    assert list(column) == SOME
    assert column != SOME[:-1]
    assert [column[place] for place in range(len(SOME))] == SOME
    assert column[-1] is None
    assert column[2:5] == SOME[2:5]
    assert column.take(np.array([4, 0])) == [b"\0", b"one"]
    assert column.nbytes == sum(len(string) for string in SOME if string)
    (joined,) = join_strings([column, column[:0], column[3:]])
    assert joined == SOME + SOME[3:]


def test_what_columns_share_is_joined_once() -> None:
    one, other = inside(SOME), inside([b"other", None])
    firsts, lasts = join_strings([one[:3], other[:1]], [one[3:], other[1:], one[:1]])
    assert firsts == [*SOME[:3], b"other"]
    assert lasts == [*SOME[3:], None, *SOME[:1]]
    assert firsts.buffer is lasts.buffer
    assert len(firsts.buffer) == len(one.buffer) + len(other.buffer)


@pytest.mark.parametrize("made", [Strings.of, inside])
@pytest.mark.parametrize("more", [0, 1, 50])
def test_rows_are_the_strings_and_zeros(made, more: int) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    chosen = random.Random(more)
    strings: list[bytes | None] = [
        chosen.choice([None, b"\xff" * 7, chosen.randbytes(chosen.randrange(20))]) for _ in range(300)
    ]
    for some in (strings, SOME, SOME[1:3], []):
        width = max((len(string or b"") for string in some), default=0) + more
        rows = made(some).rows(width)
        assert rows.shape == (len(some), width)
        assert [row.tobytes() for row in rows] == [(string or b"").ljust(width, b"\0") for string in some]
