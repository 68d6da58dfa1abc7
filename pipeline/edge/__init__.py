"""The edge: where votes come in. ``VotePublisher`` is the public API for edges of your own."""

from pipeline.edge.ballots import Ballot, BallotError
from pipeline.edge.publisher import VotePublisher
from pipeline.errors import BackpressureError, PublishError

__all__ = ["BackpressureError", "Ballot", "BallotError", "PublishError", "VotePublisher"]
