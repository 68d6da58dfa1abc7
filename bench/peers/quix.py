"""The count on Quix Streams, as its documentation advises: state in RocksDB with changelog topics, exactly-once, and a sink.

A sink is flushed before its checkpoint commits: after a crash between the two, its increments in Redis are repeated.
"""

from collections import Counter

import redis
from quixstreams import Application, State
from quixstreams.sinks import BatchingSink, SinkBatch

from bench.peers.tallies import Setup, Vote, parse

COMMIT_EVERY_S = 1.0
setup = Setup.read()


class RedisSink(BatchingSink):
    """Adds a checkpoint's outcomes to those of before, at least once."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._redis = redis.Redis.from_url(url)

    def write(self, batch: SinkBatch) -> None:
        """Write what a checkpoint adds to a partition."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name, number in Counter(item.value for item in batch).items():
                pipe.hincrby(f"tally:{batch.partition}", name, number)
            pipe.execute()


def count(vote: Vote, state: State) -> str:
    """Dedupe by vote id, and hold the voter to the limit."""
    vote_id = bytes.fromhex(vote.vote_id.replace("-", ""))
    ids = state.get_bytes("ids", b"")
    if vote_id in [ids[at : at + 16] for at in range(0, len(ids), 16)]:
        return "duplicate"
    state.set_bytes("ids", ids + vote_id)
    return "over_limit" if len(ids) >= 16 * setup.votes_per_voter else vote.cell


def main() -> None:
    """Run for ever."""
    app = Application(
        broker_address=setup.kafka,
        consumer_group=setup.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_EVERY_S,
        state_dir=setup.state,
        loglevel="WARNING",
        consumer_extra_config={"fetch.message.max.bytes": 4 << 20, "queued.max.messages.kbytes": 256 << 10},
        producer_extra_config={"linger.ms": 20, "batch.size": 1 << 20, "queue.buffering.max.messages": 1_000_000},
    )
    votes = app.topic(setup.topic, key_deserializer="bytes", value_deserializer="bytes")
    frame = app.dataframe(votes).apply(parse).filter(lambda vote: vote is not None)
    frame.apply(count, stateful=True).sink(RedisSink(setup.redis_url))
    app.run()


if __name__ == "__main__":
    main()
