-- The official result of each poll: what was counted less what is struck.
CREATE VIEW IF NOT EXISTS official_results
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String) COMMENT 'Option',
  counted UInt64 COMMENT 'Votes that were counted',
  struck UInt64 COMMENT 'Those of them that meet a void in force',
  official UInt64 COMMENT 'The difference: the result'
)
AS
SELECT topic, show_id, poll_id, option_id, sum(votes) AS counted, sum(voided) AS struck, counted - struck AS official
FROM
(
  SELECT topic, show_id, poll_id, option_id, votes, 0 AS voided
  FROM poll_results
  UNION ALL
  SELECT topic, show_id, poll_id, option_id, 0 AS votes, uniqExact(partition, offset) AS voided
  FROM voided_votes
  WHERE isNull(reinstated_offset)
  GROUP BY topic, show_id, poll_id, option_id
)
GROUP BY topic, show_id, poll_id, option_id
COMMENT 'The official result of each poll: counted less struck'
