"""What can become of a record of the log: exactly one of these, always."""

from enum import StrEnum


class Outcome(StrEnum):
    """The outcomes in the order of the rule: the first that applies is the record's.

    The text of each is its name in Redis, in ClickHouse, in metrics and in JSON.
    """

    MALFORMED = "malformed"  # not a valid record of a known type
    MARKER = "marker"  # a poll marker: applied, or ignored when it repeats or contradicts what came before
    WRONG_KEY = "wrong_key"  # the record's key is not its voter_id
    POLL_NOT_OPEN = "poll_not_open"  # the partition has not seen the poll open yet, or cast before it opened
    UNKNOWN_OPTION = "unknown_option"  # not an option of that poll
    LATE = "late"  # the poll is final here, or closed and the vote was cast at or after that
    IMPLAUSIBLE_TIME = "implausible_time"  # cast_at too far from the broker's append time
    DUPLICATE = "duplicate"  # the same vote_id came before
    OVER_LIMIT = "over_limit"  # the voter has all their votes counted already
    COUNTED = "counted"
