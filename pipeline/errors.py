"""Every error that Airtally raises on purpose.

A record is never an error: a bad one is an *outcome* (see ``pipeline.domain.outcome``). What is here stops a command,
stops a service at its start, or makes a service wait and try again.

::

    AirtallyError
    ├── ConfigurationError          the operator must change something; nothing was counted or lost
    │   ├── SettingError            a value in the environment
    │   ├── TopicMismatchError      the topic exists with other settings, or not at all
    │   ├── RedisMismatchError      Redis may evict keys, is too old, or holds something else at our keys
    │   ├── SchemaMismatchError     ClickHouse holds another version of our tables
    │   ├── MissingToolError        a program or package that the command needs is not installed
    │   └── PortInUseError          somebody else listens there
    ├── UnavailableError            a part does not answer; services retry for ever, commands give up
    ├── LogError                    the log is not what the argument of exactness needs
    │   ├── LogTruncatedError       records that were not folded yet are gone (retention)
    │   ├── LogReplacedError        the ledger or the archive is ahead of the log: the topic was made anew
    │   └── LogNotDenseError        offsets with holes: compaction or transactions
    ├── PublishError                a record was not acknowledged
    │   └── BackpressureError       it was not even taken: too many are on their way already
    ├── PollError                   a poll's state forbids the command
    └── CertificateError            a certificate or a proof is not what it says
"""


class AirtallyError(Exception):
    """The root. Its text says what is wrong, with the value, and what to do about it."""

    exit_status = 1


class ConfigurationError(AirtallyError):
    """Something must be changed by hand before the service can start."""

    exit_status = 2


class SettingError(ConfigurationError):
    """A setting's value cannot be used."""


class TopicMismatchError(ConfigurationError):
    """The topic's settings would break the counting."""


class RedisMismatchError(ConfigurationError):
    """This Redis cannot hold a ledger."""


class SchemaMismatchError(ConfigurationError):
    """ClickHouse holds tables of another version."""


class MissingToolError(ConfigurationError):
    """A program or package is not installed; the text says how to get it."""


class PortInUseError(ConfigurationError):
    """Somebody else listens on the port."""


class UnavailableError(AirtallyError):
    """A part (Kafka, Redis, ClickHouse) does not answer."""

    exit_status = 3


class LogError(AirtallyError):
    """The log is not what it must be for an exact count."""


class LogTruncatedError(LogError):
    """Records that a view has not folded yet were deleted from the log."""


class LogReplacedError(LogError):
    """A view has folded further than the log reaches: this is another log."""


class LogNotDenseError(LogError):
    """The log has holes between offsets."""


class PublishError(AirtallyError):
    """Kafka did not acknowledge a record."""


class BackpressureError(PublishError):
    """Too many records are on their way to Kafka; this one was not taken. It may be published again, later."""


class PollError(AirtallyError):
    """The poll's state does not allow this."""


class CertificateError(AirtallyError):
    """A certificate or a proof does not stand."""
