-- Each poll as each partition has seen it, from the markers in that partition's log alone.
--
-- The first opening holds; the first close after it that is not before `opened_at` holds; the first final after that
-- close holds. Every other marker changes nothing. A marker at offset n is in force for the records after n.
CREATE VIEW IF NOT EXISTS polls
(
  topic LowCardinality(String) COMMENT 'Kafka topic',
  partition UInt32 COMMENT 'Kafka partition',
  show_id LowCardinality(String) COMMENT 'Show',
  poll_id LowCardinality(String) COMMENT 'Poll: unique within its show',
  opened_offset UInt64 COMMENT 'Offset of the opening marker that holds in this partition',
  opened_at_ms UInt64 COMMENT 'Votes cast before this do not count, ms since the epoch',
  option_ids Array(String) COMMENT 'Options, in the order of the marker',
  votes_per_voter UInt32 COMMENT 'So many votes of one voter count',
  dedupe_horizon_ms UInt64 COMMENT 'Length of the epochs in which vote ids are remembered. 0: the whole poll',
  closed_offset Nullable(UInt64) COMMENT 'Offset of the closing marker that holds. NULL: the poll is open here',
  closed_at_ms Nullable(UInt64) COMMENT 'Votes cast at this or later do not count once the closing marker has passed',
  final_offset Nullable(UInt64) COMMENT 'Offset of the final marker. NULL: the poll is not final here'
)
AS
WITH
  seen AS
  (
    SELECT
      topic, partition, show_id, poll_id,
      arraySort(groupArray(
        (offset, kind, marker_at_ms)::Tuple(offset UInt64, kind String, at_ms UInt64))) AS markers,
      minIf(offset, kind = 'poll.opened') AS opened_offset,
      argMinIf(marker_at_ms, offset, kind = 'poll.opened') AS opened_at_ms,
      argMinIf(option_ids, offset, kind = 'poll.opened') AS option_ids,
      argMinIf(votes_per_voter, offset, kind = 'poll.opened') AS votes_per_voter,
      argMinIf(dedupe_horizon_ms, offset, kind = 'poll.opened') AS dedupe_horizon_ms
    FROM typed_log
    -- A marker says "poll., or writes it with an escape: no other record is read to the end. By place, not by value, as
    -- only the table's key can be looked at before FINAL.
    WHERE (topic, partition, offset) IN (
        SELECT topic, partition, offset
        FROM votes_log
        WHERE position(assumeNotNull(value), '"poll.') > 0 OR position(assumeNotNull(value), '\\') > 0)
      AND kind IN ('poll.opened', 'poll.closed', 'poll.final')
    GROUP BY topic, partition, show_id, poll_id
    HAVING countIf(kind = 'poll.opened') > 0
  ),
  -- No close or final can be at offset 0, as something must come before it: there, 0 says that there is none.
  closed AS
  (
    SELECT
      *,
      arrayFirst(
        marker -> marker.kind = 'poll.closed' AND marker.offset > opened_offset AND marker.at_ms >= opened_at_ms,
        markers) AS closing
    FROM seen
  )
SELECT
  topic, partition, show_id, poll_id,
  opened_offset, opened_at_ms, option_ids, votes_per_voter, dedupe_horizon_ms,
  nullIf(closing.offset, 0) AS closed_offset,
  if(closing.offset = 0, NULL, closing.at_ms) AS closed_at_ms,
  nullIf(
    arrayFirst(
      marker -> marker.kind = 'poll.final' AND marker.offset > closing.offset AND closing.offset > 0,
      markers).offset,
    0) AS final_offset
FROM closed
COMMENT 'Each poll as each partition of the log has seen it'
