"""Votes as bytes, in bulk: JSON put together from pieces that are encoded once, under a microsecond a vote."""

from collections.abc import Sequence
from random import Random

from pipeline.show.script import Popularity

_EDGES = ("edge-ams-1", "edge-fra-1", "edge-gru-1", "edge-sin-1", "edge-iad-1")
_CHANNELS = ("app", "web", "tv")


class Ballots:
    """The votes of one poll. A choice is a random byte: one of 256 pieces that hold option, edge and channel."""

    def __init__(self, show_id: str, poll_id: str, options: Sequence[Popularity]) -> None:
        self.option_ids = tuple(option.option_id for option in options)
        self.option_of = bytes(_options_of_choices([option.weight for option in options]))  # choice -> option's index
        self._poll = f'"show_id":"{show_id}","poll_id":"{poll_id}"'.encode()
        self._pieces = [_piece(self.option_ids[option], choice) for choice, option in enumerate(self.option_of)]

    def votes(self, rng: Random, voters: Sequence[bytes], choices: bytes, cast_at: int) -> list[bytes]:
        """Write a vote for each voter: new vote ids, options as chosen, all cast at an instant (ms since the epoch).

        Args:
            rng: gives the vote ids.
            voters: the voter ids.
            choices: one byte for each voter.
            cast_at: ms since the epoch.
        """
        # Of a version 4 UUID the first 8 and the last 12 digits are a vote's own (80 bits), the others the call's.
        call = rng.randbytes(4).hex()
        template = (
            f'{{"type":"vote","vote_id":"%b-{call[:4]}-4{call[4:7]}-a{call[5:8]}-%b",'.encode()
            + self._poll
            + f',%b,"voter_id":"%b","cast_at":{cast_at}}}'.encode()
        )
        digits = rng.randbytes(10 * len(voters)).hex().encode()
        pieces = self._pieces
        return [
            template % (digits[start : start + 8], digits[start + 8 : start + 20], pieces[choice], voter)
            for start, choice, voter in zip(range(0, 20 * len(voters), 20), choices, voters, strict=True)
        ]


def _piece(option_id: str, choice: int) -> bytes:
    edge, channel = _EDGES[choice % len(_EDGES)], _CHANNELS[choice % len(_CHANNELS)]
    return f'"option_id":"{option_id}","edge_id":"{edge}","channel":"{channel}"'.encode()


def _options_of_choices(weights: Sequence[float]) -> list[int]:
    """Give each of 256 choices an option, in proportion to the weights; each option has one choice at least."""
    spare, total = 256 - len(weights), sum(weights)
    exact = [spare * weight / total for weight in weights]
    counts = [1 + int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: int(exact[index]) - exact[index])
    for index in by_remainder[: 256 - sum(counts)]:
        counts[index] += 1
    return [index for index, count in enumerate(counts) for _ in range(count)]
