"""A show without end, in chapters: the murmur of the crowd, and now and then a call to vote that everybody follows.

A chapter is a script into the same open poll, with other voters (another seed) and another favourite. Whoever plays them
goes on until somebody ends the evening, and then plays ``last_chapter``, which closes the poll.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from random import Random

from pipeline.show.curve import LIVE, Curve
from pipeline.show.script import FINALISTS, Popularity, Script, default_script

MURMUR_PER_S = 120  # records; a call to vote takes it to between 8 and 25 times as much, within a second
VOTES_PER_VOTER = 2
CLOSING_S = 6.0  # from the last call to the end


def chapters(seed: int, show_id: str = "grand-final", poll_id: str = "winner") -> Iterator[Script]:
    """Give chapter after chapter, of half a minute each or so."""
    random = Random(seed)  # noqa: S311  # a show is to be repeated, not to be kept secret
    for number in count():
        seconds = random.uniform(6, 10) if number == 0 else random.uniform(20, 45)  # the first call comes soon
        curve = _with_a_call(random, seconds)
        yield Script(
            show_id=show_id,
            poll_id=poll_id,
            options=tuple(_in_favour(random, option) for option in FINALISTS),
            records=round(MURMUR_PER_S * seconds * curve.area(1)),
            voters=10_000_000,
            votes_per_voter=VOTES_PER_VOTER,
            duration_s=seconds,
            curve=curve,
        )


def last_chapter(show_id: str = "grand-final", poll_id: str = "winner") -> Script:
    """Give the end: the close is announced, the last votes rush in, and the poll is final."""
    script = default_script(records=8_000, seconds=CLOSING_S, show_id=show_id, poll_id=poll_id)
    return replace(script, votes_per_voter=VOTES_PER_VOTER, notice_s=3.0, grace_s=2.0, curve=_LAST)


_LAST = Curve(((0.0, 1.0), (0.5, 2.0), (0.9, 6.0), *((at, rate) for at, rate in LIVE.points if at >= 1)))


def _with_a_call(random: Random, seconds: float) -> Curve:
    """Draw a call to vote, somewhere in the middle: up within a second, down in two steps."""
    called, height = random.uniform(0.3, 0.5) * seconds, random.uniform(8, 25)
    times = (0.0, called, called + 0.8, called + 2.0, called + 5.0, seconds)
    rates = (random.uniform(0.7, 1.4), 1.0, height, 0.8 * height, 0.2 * height, random.uniform(0.7, 1.4))
    points = [(time / seconds, rate) for time, rate in zip(times, rates, strict=True) if time <= seconds]
    return Curve(tuple(points))


def _in_favour(random: Random, option: Popularity) -> Popularity:
    return replace(option, weight=option.weight * random.uniform(0.4, 1.6))
