"""Bad input at volume: mutated records through a running tally and a running archive, which must agree on all of them."""
