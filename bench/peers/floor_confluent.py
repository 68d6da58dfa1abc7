"""The floor in C: confluent-kafka with large queues, and msgspec; parse and count. No dedupe, no limits, no guarantee."""

from confluent_kafka import Consumer

from bench.peers.tallies import Air, Setup, parse


def main() -> None:
    """Read for ever."""
    setup = Setup.read()
    air = Air(setup.redis_url)
    consumer = Consumer(
        {
            "bootstrap.servers": setup.kafka,
            "group.id": setup.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 512 << 10,
            "fetch.message.max.bytes": 4 << 20,
            "check.crcs": False,
        }
    )
    consumer.subscribe([setup.topic])
    numbers = air.numbers
    while True:
        messages = consumer.consume(10_000, 0.1)
        votes = [vote for message in messages if not message.error() and (vote := parse(message.value())) is not None]
        numbers.update([vote.cell for vote in votes])
        air.write_if_due()


if __name__ == "__main__":
    main()
