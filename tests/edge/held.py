"""Connections that wait to be read, as the line and what it reads know them."""

from dataclasses import dataclass


@dataclass(eq=False)
class Connection:
    """A connection that may read on, and the order in which all of them did."""

    number: int
    order: list[int]

    def read_on(self) -> None:
        self.order.append(self.number)


def connections(some: int) -> tuple[list[Connection], list[int]]:
    """Make some; give the order in which they will have read on, too."""
    order: list[int] = []
    return [Connection(number, order) for number in range(some)], order
