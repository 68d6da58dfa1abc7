"""The tally: Faust workers that fold the log into the ledgers."""
