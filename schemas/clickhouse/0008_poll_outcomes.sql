-- The outcomes of each poll's votes, as a ledger keeps them: of votes behind the opening marker in their partition.
CREATE VIEW IF NOT EXISTS poll_outcomes
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  outcome Enum8('malformed' = 1, 'marker' = 2, 'wrong_key' = 3, 'poll_not_open' = 4, 'unknown_option' = 5,
    'late' = 6, 'implausible_time' = 7, 'duplicate' = 8, 'over_limit' = 9, 'counted' = 10)
    COMMENT 'Outcome; numbers are those of the rules',
  records UInt64 COMMENT 'Votes with that outcome'
)
AS
SELECT topic, partition, show_id, poll_id, outcome, count() AS records
FROM vote_outcomes
WHERE poll_was_known
GROUP BY topic, partition, show_id, poll_id, outcome
COMMENT 'Outcomes of the votes behind each poll''s opening marker'
