-- Each void of each poll as each partition has seen it, from the markers in that partition's log alone.
--
-- The first void with its id holds, if the poll was opened before it; the first reinstatement behind that takes it back, for
-- good. Every other such marker changes nothing. No void changes an outcome.
CREATE VIEW IF NOT EXISTS voids
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  void_id LowCardinality(String) COMMENT 'The decision, by name',
  voided_offset UInt64 COMMENT 'Offset of the marker that holds in this partition',
  reason String COMMENT 'Why. Any text',
  author String COMMENT 'Who decided it. Any text',
  condition Tuple(edge_ids Array(String), channels Array(String), voter_ids Array(String), voters_from String, voters_to String,
      cast_from_ms UInt64, cast_before_ms Nullable(UInt64))
    COMMENT 'Struck are votes that meet all of these. Empty, zero, NULL: no such condition',
  reinstated_offset Nullable(UInt64) COMMENT 'Offset of the marker that took it back. NULL: it is in force',
  reinstated_reason String COMMENT 'Why it was taken back',
  reinstated_author String COMMENT 'Who took it back'
)
AS
WITH
  decisions AS
  (
    SELECT
      topic, partition, offset, kind, show_id, poll_id, void_id, reason, author, condition,
      minIf(offset, kind = 'poll.opened') OVER (PARTITION BY topic, partition, show_id, poll_id) AS opened_offset,
      countIf(kind = 'poll.opened') OVER (PARTITION BY topic, partition, show_id, poll_id) > 0 AS is_opened
    FROM typed_log
    -- As in the view polls: no other record is read to the end.
    WHERE (topic, partition, offset) IN (
        SELECT topic, partition, offset
        FROM votes_log
        WHERE position(assumeNotNull(value), '"votes.') > 0 OR position(assumeNotNull(value), '"poll.opened"') > 0
          OR position(assumeNotNull(value), '\\') > 0)
      AND kind IN ('poll.opened', 'votes.voided', 'votes.reinstated')
  ),
  seen AS
  (
    SELECT
      topic, partition, show_id, poll_id, void_id,
      minIf(offset, kind = 'votes.voided') AS voided_offset,
      argMinIf(decisions.reason, offset, kind = 'votes.voided') AS reason,
      argMinIf(decisions.author, offset, kind = 'votes.voided') AS author,
      argMinIf(decisions.condition, offset, kind = 'votes.voided') AS condition,
      arraySort(groupArrayIf((offset, decisions.reason, decisions.author), kind = 'votes.reinstated')) AS reinstated
    FROM decisions
    WHERE is_opened AND offset > opened_offset
    GROUP BY topic, partition, show_id, poll_id, void_id
    HAVING countIf(kind = 'votes.voided') > 0
  ),
  -- No reinstatement can be at offset 0: there, 0 says that there is none.
  paired AS
  (
    SELECT *, arrayFirst(marker -> marker.1 > voided_offset, reinstated) AS back
    FROM seen
  )
SELECT
  topic, partition, show_id, poll_id, void_id, voided_offset, reason, author, condition,
  nullIf(back.1, 0) AS reinstated_offset, back.2 AS reinstated_reason, back.3 AS reinstated_author
FROM paired
COMMENT 'Each void of each poll as each partition of the log has seen it'
