"""How the rate of votes moves through a show."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Curve:
    """A rate that is linear between points.

    Each point is (progress, rate): progress 0 is the opening of the poll and 1 its close, and it goes on beyond 1; the
    rate is relative, only its ratios matter. After the last point its rate holds.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points or self.points[0][0] != 0:
            raise ValueError("a curve begins at progress 0")
        if any(left[0] >= right[0] for left, right in pairwise(self.points)):
            raise ValueError("a curve's points must move forwards")
        if any(rate < 0 for _, rate in self.points) or self.points[-1][1] <= 0:
            raise ValueError("a curve's rates are not negative, and the last one is above 0")

    def rate(self, progress: float) -> float:
        """Give the relative rate at a progress of 0 or more."""
        for (left, low), (right, high) in pairwise(self.points):
            if progress < right:
                return low + (high - low) * (progress - left) / (right - left)
        return self.points[-1][1]

    def area(self, progress: float) -> float:
        """Give the integral of the rate from 0: what has been published until then, in relative terms."""
        total = 0.0
        for (left, low), (right, _) in pairwise(self.points):
            if progress <= left:
                return total
            reached = min(progress, right)
            total += (reached - left) * (low + self.rate(reached)) / 2
        last, rate = self.points[-1]
        return total + max(0.0, progress - last) * rate


STEADY = Curve(((0.0, 1.0),))

# A live vote: the murmur of the crowd, the host's call to vote (ten times as much within a second or two), a long tail,
# and the rush of the last seconds. After the close, what was under way still arrives.
LIVE = Curve(
    (
        (0.000, 1.0),
        (0.300, 1.0),
        (0.330, 10.0),
        (0.370, 9.0),
        (0.450, 4.0),
        (0.600, 1.8),
        (0.880, 1.2),
        (0.960, 5.0),
        (1.000, 6.0),
        (1.005, 1.5),
        (1.050, 0.5),
    )
)
