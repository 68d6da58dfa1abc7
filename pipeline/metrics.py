"""Every metric of every service: name, kind, labels, meaning. Nothing else defines one.

Scrape them at `/metrics` of a service's health port. `partition` is the Kafka partition, as text.
"""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)

# Tally: from the log to Redis.
RECORDS_FOLDED = Counter("airtally_tally_records_total", "Records applied to a ledger by this worker", ["partition"])
OUTCOMES = Counter("airtally_tally_outcomes_total", "Records applied by this worker, by outcome", ["outcome"])
NEXT_OFFSET = Gauge(
    "airtally_tally_next_offset", "Offset of the record to fold next, as the ledger says", ["partition"]
)
LAG = Gauge("airtally_tally_lag_records", "Records in the log that are not folded yet", ["partition"])
APPLY_SECONDS = Histogram(
    "airtally_tally_apply_seconds", "Duration of one call of the ledger's script", buckets=_SECONDS
)
APPEND_TO_APPLIED = Histogram(
    "airtally_tally_append_to_applied_seconds",
    "From the broker's append to the ledger, for the oldest record of each chunk",
    buckets=_SECONDS,
)
CHUNK_RECORDS = Histogram(
    "airtally_tally_chunk_records", "Records in a chunk", buckets=(1, 10, 50, 100, 200, 500, 1000, 2000, 4000, 6000)
)
REWINDS = Counter(
    "airtally_tally_rewinds_total", "Times that a ledger was found behind and its log read again", ["partition"]
)
REFUSED_CHUNKS = Counter(
    "airtally_tally_refused_chunks_total",
    "Chunks that a ledger did not apply, by its answer (seen, overlap, gap)",
    ["answer"],
)

# Archive: from the log to ClickHouse.
ARCHIVED = Counter("airtally_archive_records_total", "Records stored by this worker", ["partition"])
ARCHIVE_NEXT_OFFSET = Gauge("airtally_archive_next_offset", "Offset of the record to store next", ["partition"])
ARCHIVE_LAG = Gauge("airtally_archive_lag_records", "Records in the log that are not stored yet", ["partition"])
FLUSH_SECONDS = Histogram("airtally_archive_flush_seconds", "Duration of one insert", buckets=_SECONDS)
FLUSH_RECORDS = Histogram(
    "airtally_archive_flush_records", "Records in a flush", buckets=(1, 100, 1_000, 10_000, 50_000, 100_000, 200_000)
)
FLUSH_BYTES = Histogram(
    "airtally_archive_flush_bytes", "Bytes of keys and values in a flush", buckets=(1e3, 1e4, 1e5, 1e6, 1e7, 5e7, 1e8)
)
APPEND_TO_STORED = Histogram(
    "airtally_archive_append_to_stored_seconds",
    "From the broker's append to ClickHouse, for the oldest record of each flush",
    buckets=(*_SECONDS, 600),
)

# Live: from the ledgers to the air.
LIVE_VERSIONS = Counter(
    "airtally_live_versions_total", "Versions offered to the display, by answer (shown, refused)", ["answer"]
)
LIVE_LOOK_SECONDS = Histogram(
    "airtally_live_look_seconds", "Duration of one look at the ledgers that found something new", buckets=_SECONDS
)
LIVE_BEHIND = Gauge("airtally_live_behind_seconds", "Age of the instant up to which every partition is counted")
LIVE_RECOUNTING = Gauge("airtally_live_recounting_polls", "Polls whose numbers are held while a ledger is folded again")
LIVE_READERS = Gauge("airtally_live_readers", "Open event streams")
LIVE_READERS_DROPPED = Counter(
    "airtally_live_readers_dropped_total", "Event streams ended because their reader took nothing any more"
)
LIVE_EVENTS = Counter("airtally_live_events_total", "Events handed to readers; a slow reader gets fewer, newer ones")

# Edge: from viewers to the log.
EDGE_VOTES = Counter(
    "airtally_edge_votes_total",
    "Votes acknowledged by Kafka (accepted), and requests refused, by reason (poll-closed, too-many-votes, ...)",
    ["answer"],
)
EDGE_IN_FLIGHT = Gauge("airtally_edge_in_flight_votes", "Votes on their way to Kafka")
EDGE_STALLED = Gauge(
    "airtally_edge_stalled_seconds", "For how long some partition has acknowledged nothing, although votes wait for it"
)
EDGE_CONNECTIONS = Gauge("airtally_edge_connections", "Open connections, by kind (http, socket)", ["kind"])
EDGE_CONNECTIONS_MADE_ROOM = Counter(
    "airtally_edge_connections_made_room_total", "Idle connections closed because others were waiting to be accepted"
)
PUBLISH_SECONDS = Histogram(
    "airtally_publish_seconds", "From handing a batch of votes to Kafka to its acknowledgement", buckets=_SECONDS
)

# All.
RETRIES = Counter(
    "airtally_retries_total", "Calls that had to be made again, by the part that did not answer", ["part"]
)
HELD_BYTES = Gauge("airtally_backlog_bytes", "Bytes fetched from Kafka and not yet let go of")
MEMORY_BYTES = Gauge("airtally_tally_memory_bytes", "Bytes of the tables of votes that a worker of the tally remembers")
FILED_BYTES = Gauge("airtally_tally_filed_bytes", "Bytes of these tables that are not in memory but in files")
READY = Gauge("airtally_ready", "1 when /readyz says so, else 0")
