"""What a trial can come to."""

from enum import StrEnum


class Verdict(StrEnum):
    """What came of a trial."""

    PASS = "exact"
    FAIL = "FAIL"
    NONE = "no verdict"  # the harness, its servers or its machine had trouble: nothing is known about the product


class WrongError(Exception):
    """The product did not do what it must. Any other exception is trouble of the harness."""
