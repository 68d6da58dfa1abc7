"""The audit: three witnesses of one poll, compared number by number, and the certificate of a result that passed.

``witness`` says what each of them says: the log itself, the ledgers, the archive. ``compare`` names where they differ.
``leaf`` and ``merkle`` are the digest of the log, ``certificate`` what is signed, ``proof`` the place of one vote in it.
What ClickHouse says comes from ``pipeline.archive``, which shares no rule with the tally; the command brings the two together.
"""
