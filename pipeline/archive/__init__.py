"""The archive: every record of the log, byte for byte, in ClickHouse, and there recounted in SQL.

``buffer`` collects batches until a flush is due, ``flush`` is that flush, frozen, ``block`` makes a stream of it, ``store``
inserts that. The tables and views are those of ``schemas/clickhouse``, applied by ``migrate``.
"""
