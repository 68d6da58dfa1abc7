"""The rules of counting, pure: no I/O, no clock, no randomness, no logging.

Read in this order: ``outcome`` (what can become of a record), ``record`` (bytes to votes and markers), ``poll`` (what the
markers make of a poll), ``batch`` (a run of the log), ``fold`` (batch to chunk: every decision that needs only poll
state), ``partition`` (chunk to totals: the decisions that need to remember votes, as a model of the ledger).
"""
