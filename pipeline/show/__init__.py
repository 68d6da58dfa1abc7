"""Simulated shows, and their oracle: what an exact counter must say of them.

Pure: no I/O, no clock, no global randomness. Seeds and instants are arguments. What a show publishes is planned so that
the outcome of every record is known before it is sent: nothing here asks the fold, a ledger or a database.

Read in this order: ``curve`` (how many records when), ``script`` (what happens in a show), ``voters`` (who votes),
``ballots`` (votes as bytes, in bulk), ``forms`` (unusual and spoilt bytes), ``clock`` (which instants are in time),
``expectation`` (the oracle), ``strays`` (what does not count), ``generator`` (all of it, tick by tick).
"""
