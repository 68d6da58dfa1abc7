"""Simulated viewers over real connections: `airtally load`."""
