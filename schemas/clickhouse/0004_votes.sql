-- The log, typed: one row for each record, whatever merges have done so far (hence FINAL).
CREATE VIEW IF NOT EXISTS votes
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  offset UInt64 COMMENT 'Kafka offset: with topic and partition, the identity of a record',
  append_time DateTime64(3, 'UTC') COMMENT 'When the broker appended the record',
  kind Enum8('malformed' = 0, 'vote' = 1, 'poll.opened' = 2, 'poll.closed' = 3, 'poll.final' = 4,
    'votes.voided' = 5, 'votes.reinstated' = 6)
    COMMENT 'What the record is',
  show_id LowCardinality(String) COMMENT 'Show. Empty, as all ids: the record has none of the right form',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String) COMMENT 'Option that the vote is for',
  vote_id UUID COMMENT 'Identity of the vote: the same each time its client sends it. Zero: none',
  voter_id String COMMENT 'Pseudonym of the voter',
  cast_at DateTime64(3, 'UTC') COMMENT 'When the edge received the vote (latest: the year 2299; see cast_at_ms)',
  cast_at_ms UInt64 COMMENT 'The same, ms since the epoch',
  edge_id LowCardinality(String) COMMENT 'Edge that received the vote',
  channel LowCardinality(String) COMMENT 'Way by which the vote came: web, app, ...',
  misrouted Bool COMMENT 'Whether the key of this vote is not its voter',
  key Nullable(String) COMMENT 'Record key, byte for byte',
  value Nullable(String) COMMENT 'Record value, byte for byte. NULL: a tombstone',
  headers Array(Tuple(name String, value Nullable(String))) COMMENT 'Record headers, values byte for byte'
)
AS
SELECT
  topic, partition, offset, append_time, kind, show_id, poll_id, option_id, vote_id, voter_id,
  fromUnixTimestamp64Milli(toInt64(least(cast_at_ms, 10413791999999)), 'UTC') AS cast_at,
  cast_at_ms, edge_id, channel,
  kind = 'vote' AND misrouted_voter_id != '' AS misrouted,
  key, value, headers
FROM typed_log
COMMENT 'Every record of the log, typed, once'
