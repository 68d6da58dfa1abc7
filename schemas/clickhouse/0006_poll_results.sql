-- The result of each poll, recounted from the log: every option of its opening markers, also those without a vote.
CREATE VIEW IF NOT EXISTS poll_results
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String) COMMENT 'Option',
  votes UInt64 COMMENT 'Votes that count'
)
AS
SELECT topic, show_id, poll_id, option_id, sum(votes) AS votes
FROM
(
  SELECT topic, show_id, poll_id, option_id, count() AS votes
  FROM vote_outcomes
  WHERE outcome = 'counted'
  GROUP BY topic, show_id, poll_id, option_id
  UNION ALL
  SELECT topic, show_id, poll_id, arrayJoin(option_ids) AS option_id, 0 AS votes
  FROM polls
)
GROUP BY topic, show_id, poll_id, option_id
COMMENT 'The result of each poll, recounted from the log alone'
