"""The live view: merges the ledgers into what the air reads, and serves it to graphics, pages and programs."""
