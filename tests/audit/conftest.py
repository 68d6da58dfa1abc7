"""The command, as the tests of the command run it."""

from tests.cli.conftest import airtally, airtally_begun

__all__ = ["airtally", "airtally_begun"]
