"""A column of strings in one buffer is the list of them, and can be laid out as rows."""

import random
from itertools import accumulate

import numpy as np
import pytest

from pipeline.domain.strings import Strings, join_strings, pack_strings

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
def test_they_are_packed(made) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    columns: list[list[bytes | None]] = [SOME, [], [b"x" * 999], [None], SOME[::-1]]
    every = [string or b"" for column in columns for string in column]
    packed = np.full(sum(map(len, every)) + 3, 7, np.uint8)
    bounds = pack_strings([made(column) for column in columns], packed)
    assert packed.tobytes() == b"".join(every) + b"\7\7\7"
    assert bounds.tolist() == [0, *accumulate(map(len, every))]


@pytest.mark.parametrize("made", [Strings.of, inside])
def test_they_are_texts_or_not(made) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    chosen = random.Random(1)
    texts = [chosen.choice([b"", b"ab", b"abc", b"abd", b"ab" * 9, b"ac" * 9]) for _ in range(300)]
    strings = [
        chosen.choice([text, text, text[:-1], text + b"\0", text + b"d" * 30, b"abc", b"\0", None]) for text in texts
    ]
    for size in (0, 1, 300):
        expected = [string == text for string, text in zip(strings[:size], texts[:size], strict=True)]
        assert made(strings[:size]).are(np.array(texts[:size], np.bytes_)).tolist() == expected
