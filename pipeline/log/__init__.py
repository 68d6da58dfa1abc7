"""Kafka: the topic `votes`, the batch transport for Faust, and the publisher of votes and markers."""
