"""Redis: one ledger per partition of the log, written by one script, read and merged by anybody."""
