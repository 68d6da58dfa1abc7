"""`python -m pipeline.cli`: the same as `airtally`."""

from pipeline.cli import main

main()
