-- The topic, record by record, as it was: what the broker said of each, and its bytes. Nothing is computed at the insert, so
-- that the archive keeps up with the show; what ClickHouse reads in the bytes is in the view typed_log.
--
-- No PARTITION BY: an insert is atomic per block *and per table partition*, and a flush must be one atomic step.
-- ReplacingMergeTree, with the record's place in the log as its key: a row that came twice becomes one (at a merge, or at
-- once with FINAL). The deduplication window stands before that: a request that is repeated with its token is dropped whole.
CREATE TABLE IF NOT EXISTS votes_log
(
  topic LowCardinality(String)
    COMMENT 'Kafka topic',
  partition UInt32 CODEC(Delta, ZSTD(1))
    COMMENT 'Kafka partition',
  offset UInt64 CODEC(Delta, ZSTD(1))
    COMMENT 'Kafka offset: with topic and partition, the identity of a record',
  append_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
    COMMENT 'When the broker appended the record (LogAppendTime)',
  key Nullable(String) CODEC(ZSTD(1))
    COMMENT 'Record key, byte for byte; of a vote, its voter id. NULL: none',
  value Nullable(String) CODEC(ZSTD(1))
    COMMENT 'Record value, byte for byte. NULL: a tombstone',
  headers Array(Tuple(name String, value Nullable(String))) CODEC(ZSTD(1))
    COMMENT 'Record headers in their order, values byte for byte',

  inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))
    COMMENT 'When ClickHouse took the row. Never used for counting'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The log of votes and poll markers: a row for each record'
