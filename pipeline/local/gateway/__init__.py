"""ClickHouse's HTTP interface over chDB, the ClickHouse engine as a library: a server for one machine.

A data folder of chDB belongs to one process, and chDB has no HTTP server. This gateway is that one process; on it
ordinary ``clickhouse-connect`` clients (sync and async), ``curl``, and whatever else speaks ClickHouse's HTTP work
unchanged, several at once. Each request has a connection of its own into the engine, so settings never leak from one
client to another, reads do not wait for writes, and writes do not wait for each other.

What it does as the real server does: queries in the URL, the body or a form; ``param_*`` query parameters; settings,
``database`` and ``default_format`` in the URL; every input and output format of the engine; inserts with their data, also
with Content-Encoding lz4, zstd, gzip, deflate, br; insert deduplication tokens; ``X-ClickHouse-Summary``;
exceptions with code, text and HTTP status, also in the middle of a result; ``/ping``.

An insert below the engine's block limits (about a million rows, 256 MB) is atomic, as on the real server: a client that
goes away in the middle, bytes that cannot be parsed, and ``kill -9`` leave all of its rows or none. Like the real
server, the engine writes a deduplication token down a moment before the rows are there: after a crash, look before you
send again.

What it does not do (it answers 501 and says so, where silence would mislead):

- users and access rights: any user name and password is accepted, so it listens on the loopback interface;
- sessions: ``session_id`` is accepted, but ``SET``, ``USE``, temporary tables and transactions are refused;
- ``client_protocol_version``: Native results are as for version 0 (clients find that out by themselves);
- external data, ``compress`` and ``decompress`` (ClickHouse's own framing), roles, ``INTO OUTFILE``, ``FROM INFILE``;
- compressed answers: they are sent plain, which is what a loopback wants;
- cancelling a query when its client goes away, unless its result was being streamed;
- the pages ``/play``, ``/dashboard``, ``/replicas_status``.

Run it with ``python -m pipeline.local.gateway --path FOLDER --port PORT``.
"""
