-- The course of each poll: its counted votes by the second in which they were cast. Seconds without votes have no row.
CREATE VIEW IF NOT EXISTS votes_per_second
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  second DateTime('UTC') COMMENT 'Second in which the votes were cast',
  window_start_ms UInt64 COMMENT 'Its beginning, ms since the epoch',
  option_id LowCardinality(String) COMMENT 'Option',
  votes UInt64 COMMENT 'Votes that count'
)
AS
SELECT
  topic, show_id, poll_id,
  toDateTime(intDiv(window_start_ms, 1000), 'UTC') AS second,
  window_start_ms, option_id,
  count() AS votes
FROM vote_outcomes
WHERE outcome = 'counted'
GROUP BY topic, show_id, poll_id, window_start_ms, option_id
COMMENT 'Counted votes of each second and option, recounted from the log alone'
