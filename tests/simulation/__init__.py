"""A seeded, deterministic simulation: the workers as they are, on parts that fail as real ones do.

Simulated are the log, Redis, ClickHouse, the network between and the clock. Real are the fold, the model of the ledger
(which shares a suite of contracts with the script in Redis), and all that the workers decide: ``Tally``, ``PartitionFolder``,
``Archive`` and ``Archiver`` run here as in production, on an event loop without I/O. Nothing happens but what a driver asks
for, one step at a time: ``seeds`` throws the steps with a seed, which replays; ``test_stateful`` lets Hypothesis choose them.

Read in this order: ``loop``, ``wire``, ``votes``, ``redis``, ``clickhouse``, ``worker``, ``world``, ``tally``,
``archive``, ``seeds``.
"""
