"""Real servers for a laptop or a test run, started and stopped by Airtally itself: see ``pipeline.local.stack``."""
