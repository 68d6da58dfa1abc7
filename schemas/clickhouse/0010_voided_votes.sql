-- The counted votes that meet a void, a row for each vote and void, also where that was taken back: `reinstated_offset` tells.
CREATE VIEW IF NOT EXISTS voided_votes
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  offset UInt64 COMMENT 'Kafka offset of the vote',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  option_id LowCardinality(String) COMMENT 'Option that the vote was counted for',
  void_id LowCardinality(String) COMMENT 'The void that it meets',
  voided_offset UInt64 COMMENT 'Offset of the void in this partition',
  reinstated_offset Nullable(UInt64) COMMENT 'Offset at which the void was taken back. NULL: the vote is struck'
)
AS
SELECT
  counted.topic AS topic, counted.partition AS partition, counted.offset AS offset, counted.show_id AS show_id,
  counted.poll_id AS poll_id, counted.option_id AS option_id, void_id, voided_offset, reinstated_offset
FROM
  (SELECT * FROM vote_outcomes WHERE outcome = 'counted') AS counted
  INNER JOIN voids USING (topic, partition, show_id, poll_id)
WHERE (empty(condition.edge_ids) OR has(condition.edge_ids, edge_id))
  AND (empty(condition.channels) OR has(condition.channels, channel))
  AND (empty(condition.voter_ids) OR has(condition.voter_ids, voter_id))
  AND (condition.voters_from = '' OR voter_id >= condition.voters_from)
  AND (condition.voters_to = '' OR voter_id <= condition.voters_to)
  AND cast_at_ms >= condition.cast_from_ms
  AND (isNull(condition.cast_before_ms) OR cast_at_ms < assumeNotNull(condition.cast_before_ms))
COMMENT 'Counted votes that meet a void'
