-- What became of each record: the ten rules of pipeline/domain/outcome.py once more, in SQL, over the log alone. Nothing
-- here reads what the tally wrote. The first rule that applies decides, each within the record's own partition.
--
-- All of it lies within a partition, and ClickHouse takes a condition on topic and partition into every step: a large log is
-- recounted partition by partition, in the memory that one of them needs.
CREATE VIEW IF NOT EXISTS vote_outcomes
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  offset UInt64 COMMENT 'Kafka offset',
  append_time DateTime64(3, 'UTC') COMMENT 'When the broker appended the record',
  show_id LowCardinality(String) COMMENT 'Show. Empty: the record has none of the right form',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String) COMMENT 'Option that the vote is for',
  vote_id UUID COMMENT 'Identity of the vote. Zero: none',
  voter_id String COMMENT 'Pseudonym of the voter',
  cast_at_ms UInt64 COMMENT 'When the edge received the vote, ms since the epoch',
  edge_id LowCardinality(String) COMMENT 'Edge that received the vote',
  channel LowCardinality(String) COMMENT 'Way by which the vote came',
  outcome Enum8('malformed' = 1, 'marker' = 2, 'wrong_key' = 3, 'poll_not_open' = 4, 'unknown_option' = 5,
    'late' = 6, 'implausible_time' = 7, 'duplicate' = 8, 'over_limit' = 9, 'counted' = 10)
    COMMENT 'What became of the record; numbers are those of the rules',
  window_start_ms UInt64 COMMENT 'Second in which a counted vote counts, ms since the epoch',
  poll_was_known Bool COMMENT 'Whether the opening marker of the poll lies before this record in its partition'
)
AS
WITH
  records AS
  (
    SELECT
      topic, partition, offset, append_time, kind, show_id, poll_id, option_id, vote_id, voter_id, cast_at_ms,
      edge_id, channel,
      misrouted_voter_id != '' AS is_misrouted,
      toUnixTimestamp64Milli(append_time) AS append_ms,
      max(append_ms) OVER (
        PARTITION BY topic, partition ORDER BY offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS clock_ms
    FROM typed_log
  ),
  -- Rules 1 to 7 need the record and its poll. 0: they let it pass.
  refused AS
  (
    SELECT
      records.*,
      opened_offset IS NOT NULL AND offset > opened_offset AND kind = 'vote' AS poll_was_known,
      votes_per_voter,
      if(dedupe_horizon_ms > 0, intDiv(clock_ms, toInt64(dedupe_horizon_ms)), 0) AS epoch,
      multiIf(
        kind = 'malformed', 1,
        kind != 'vote', 2,
        is_misrouted, 3,
        NOT poll_was_known OR cast_at_ms < opened_at_ms, 4,
        NOT has(option_ids, option_id), 5,
        offset > final_offset OR (offset > closed_offset AND cast_at_ms >= closed_at_ms), 6,
        cast_at_ms NOT BETWEEN append_ms - 60000 AND append_ms + 5000, 7,
        0) AS refusal
    FROM records LEFT JOIN polls USING (topic, partition, show_id, poll_id)
    SETTINGS join_use_nulls = 1
  ),
  -- Rule 8: the same vote came before, in this epoch of the partition's clock or the one before. That clock never runs
  -- backwards, so the latest appearance before this one is the one to ask about.
  repeated AS
  (
    SELECT
      *,
      refusal = 0 AND lagInFrame(epoch, 1, -2) OVER (
        PARTITION BY topic, partition, show_id, poll_id, vote_id, refusal = 0 ORDER BY offset
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) >= epoch - 1 AS is_repeat
    FROM refused
  ),
  -- Rule 9: the voter has all their votes counted. Votes that are no repeats count until the limit.
  limited AS
  (
    SELECT
      *,
      refusal = 0 AND NOT is_repeat AND row_number() OVER (
        PARTITION BY topic, partition, show_id, poll_id, voter_id, refusal = 0 AND NOT is_repeat ORDER BY offset)
        > votes_per_voter AS is_over_limit
    FROM repeated
  )
SELECT
  topic, partition, offset, append_time, show_id, poll_id, option_id, vote_id, voter_id, cast_at_ms,
  edge_id, channel,
  multiIf(refusal > 0, refusal, is_repeat, 8, is_over_limit, 9, 10) AS outcome,
  if(outcome = 10, cast_at_ms - cast_at_ms % 1000, 0) AS window_start_ms,
  poll_was_known
FROM limited
COMMENT 'What became of each record, recounted from the log alone'
