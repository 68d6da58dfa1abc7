"""Benchmarks: `make bench` runs them all; each is a command of its own, checks its answer, and says what machine it ran on."""
