"""The count on Bytewax, as its documentation advises: votes keyed by voter, a stateful step, a snapshot each second.

What is replayed after a crash is added again in Redis: its sinks are at least once.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import redis
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.tallies import Setup, Vote, parse

SNAPSHOT_EVERY = timedelta(seconds=1)
SOURCE_BATCH = 2_000
ID_BYTES = 16

setup = Setup.read()


class VoterLogic(StatefulBatchLogic[Vote, str, bytes]):
    """One voter: the ids of their votes, 16 bytes each."""

    def __init__(self, ids: bytes | None) -> None:
        self.ids = ids or b""

    def on_batch(self, values: list[Vote]) -> tuple[Iterable[str], bool]:
        """Dedupe by vote id, and hold the voter to the limit."""
        return [self._outcome(vote) for vote in values], StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        """Give what is kept."""
        return self.ids

    def _outcome(self, vote: Vote) -> str:
        vote_id, ids = bytes.fromhex(vote.vote_id.replace("-", "")), self.ids
        if vote_id in [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]:
            return "duplicate"
        self.ids = ids + vote_id
        return "over_limit" if len(ids) >= ID_BYTES * setup.votes_per_voter else vote.cell


class RedisPartition(StatelessSinkPartition[tuple[str, str]]):
    """Adds outcomes to those of before."""

    def __init__(self, worker: int) -> None:
        self._redis, self._key = redis.Redis.from_url(setup.redis_url), f"tally:{worker}"

    def write_batch(self, items: list[tuple[str, str]]) -> None:
        """Write a batch in one round trip."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name, number in Counter(name for _, name in items).items():
                pipe.hincrby(self._key, name, number)
            pipe.execute()


class RedisSink(DynamicSink[tuple[str, str]]):
    """The result in Redis."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> RedisPartition:  # noqa: ARG002  # Bytewax's
        """Make a worker's part."""
        return RedisPartition(worker_index)


def keyed(messages: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, Vote]]:
    """Read a batch and key its votes by voter."""
    votes = map(parse, [message.value for message in messages])
    return [(vote.voter_id, vote) for vote in votes if vote is not None]


def build() -> Dataflow:
    """Make the dataflow."""
    flow = Dataflow("tally")
    fetch = {"queued.max.messages.kbytes": str(64 << 10), "fetch.message.max.bytes": str(4 << 20)}
    source = KafkaSource([setup.kafka], [setup.topic], add_config=fetch, batch_size=SOURCE_BATCH)
    votes = op.flat_map_batch("parse", op.input("votes", flow, source), keyed)
    op.output("redis", op.stateful_batch("count", votes, VoterLogic), RedisSink())
    return flow


def main() -> None:
    """Run for ever."""
    state = Path(setup.state)
    init_db_dir(state, 1)
    cli_main(build(), epoch_interval=SNAPSHOT_EVERY, recovery_config=RecoveryConfig(state))


if __name__ == "__main__":
    main()
