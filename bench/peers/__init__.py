"""The peers: the same count on other engines, as their own documentation advises, at their strongest ordinary guarantee.

The work: read the topic from its begin, take what is a vote, count each vote id once and at most so many votes of a voter,
add up per option and second, and have the result in Redis. Rules that only Airtally has (late votes, wrong keys, malformed
records, ...) have no case in this log, and the peers do not check them.

A peer is a process. It finds in its environment:

    PEER_KAFKA, PEER_TOPIC, PEER_PARTITIONS    where the votes are, keyed by voter
    PEER_GROUP                                 a name for its consumer group, new for each run
    PEER_REDIS_URL                             where the result goes: hashes `tally:SHARD`, a shard for each part of its work
    PEER_STATE                                 an empty folder for its state
    PEER_VOTES_PER_VOTER                       the limit
    PEER_PARALLELISM                           how many threads may count

and writes five times a second (an engine that hands over results only with its checkpoint: each second) numbers for each field
of `tally:SHARD`: `SECOND/OPTION` (the start of the second in ms) the votes that count, `duplicate` and `over_limit` the others.
All shards together must be what the oracle says, cell by cell, or the peer is disqualified. It is done when every vote of the
log is in Redis, and is then stopped.
"""
