"""One frozen tree of settings, read from the environment once. Nothing else reads ``os.environ``.

Every variable begins with ``AIRTALLY_``; a field's name in capitals is the rest: ``kafka`` is ``AIRTALLY_KAFKA``.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import DirectoryPath, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import SettingError

Port = Annotated[int, Field(ge=0, le=65535)]

DAY_MS = 24 * 60 * 60 * 1000


class Settings(BaseSettings):
    """What every command and service is told from outside. Units stand in the names."""

    model_config = SettingsConfigDict(env_prefix="AIRTALLY_", frozen=True, extra="ignore")

    # Where the parts are. None: a local part, started by `airtally up` (address in `home`).
    kafka: str | None = None  # bootstrap servers: "host:port,host:port"
    redis_url: str | None = None
    clickhouse_url: str | None = None  # "http://user:password@host:8123"
    clickhouse_database: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "airtally"
    home: Path = Path(".airtally")  # folder of the local parts: data, logs, addresses

    # Kafka's door, for clusters that are not on a private network.
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None

    # The log. `partitions` is fixed when the topic is made and checked at every start.
    topic: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "votes"
    partitions: Annotated[int, Field(ge=1, le=1000)] = 12
    replication: Annotated[int, Field(ge=1, le=7)] = 1
    min_insync: Annotated[int, Field(ge=1, le=7)] = 1
    retention_ms: Annotated[int, Field(ge=60_000)] = 7 * DAY_MS

    # Workers. An instance id makes a restart keep its partitions (static membership, KIP-345).
    instance_id: str | None = None
    health_host: str = "127.0.0.1"
    health_port: Port | None = None  # None: the service's own default; 0: any free one
    backlog_bytes: Annotated[int, Field(ge=1 << 20)] = (
        64 << 20
    )  # fetched but not yet applied, per worker; the archive: twice that
    remembered_bytes: Annotated[int, Field(ge=0)] = 48 << 20  # of votes, in a tally worker's memory: more is in files
    remembered_folder: DirectoryPath | None = None  # of these; None: what TMPDIR names, or else /var/tmp
    accept_truncated_log: bool = False  # start a new ledger where retention has already deleted records

    # The display's door: pages, JSON and event streams.
    live_host: str = "127.0.0.1"
    live_port: Port = 8090  # 0: any free one
    live_readers: Annotated[int, Field(ge=1)] = 10_000  # event streams at once; more are told to come again
    live_origins: str = ""  # whose pages may read besides our own (CORS): "https://graphics.example", or "*", files too

    # The edge's door: viewers' votes, and edges in front of it.
    edge_host: str = "127.0.0.1"
    edge_port: Port = 8091  # 0: any free one
    edge_share_port: bool = False  # several processes of a machine on one port (SO_REUSEPORT)
    edge_id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "edge-1"
    edge_secret: SecretStr | None = None  # root of the voters' pseudonyms, the same at all edges
    edge_token_keys: SecretStr | None = None  # of the tokens of edges in front: "name:key,name:key", the first signs
    edge_public: bool = True  # False: nobody votes without a token
    edge_origins: str = ""  # whose pages may vote (CORS): "https://vote.example,https://www.example", or "*"
    edge_proxies: str = ""  # addresses whose X-Forwarded-For is believed: "10.0.0.7,10.0.0.8"
    edge_connections: Annotated[int, Field(ge=1)] = 20_000  # at once; more wait until there is room
    edge_in_flight: Annotated[int, Field(ge=500)] = 30_000  # votes on their way to Kafka; more are told to come again
    edge_request_s: Annotated[float, Field(gt=0)] = 10.0  # for a whole request to arrive
    edge_answer_s: Annotated[float, Field(gt=0, le=30)] = (
        10.0  # a vote that Kafka has not acknowledged by then is told so
    )
    edge_wait_s: Annotated[float, Field(gt=0, le=10)] = (
        2.0  # a request that waits longer for its turn is told to come again
    )
    edge_drain_s: Annotated[float, Field(ge=0)] = 20.0  # for what is in flight when the service is told to stop
    edge_lame_duck_s: Annotated[float, Field(ge=0)] = 0.0  # before that: not ready, but still taking votes
    edge_voter_per_s: Annotated[float, Field(gt=0)] = 1.0
    edge_voter_burst: Annotated[float, Field(ge=1)] = 10.0
    edge_address_per_s: Annotated[float, Field(gt=0)] = 50.0  # a carrier has thousands of viewers behind one address
    edge_address_burst: Annotated[float, Field(ge=1)] = 500.0
    edge_front_per_s: Annotated[float, Field(gt=0)] = 200_000.0  # votes of one edge in front
    edge_front_burst: Annotated[float, Field(ge=500)] = 400_000.0

    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: str | None) -> str | None:
        schemes = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
        if url is not None and not url.startswith(schemes):
            raise ValueError(f"must begin with {', '.join(schemes[:-1])} or {schemes[-1]}")
        return _readable(url)

    @field_validator("kafka")
    @classmethod
    def _servers(cls, servers: str | None) -> str | None:
        for each in servers.split(",") if servers else ():
            parts = urlsplit(f"//{each.strip()}")
            try:
                is_one = bool(parts.hostname) and parts.port is not None and not parts.path
            except ValueError:
                is_one = False
            if not is_one:
                raise ValueError(f"{each.strip()!r} is not host:port; several have commas between them")
        return servers

    @field_validator("edge_proxies")
    @classmethod
    def _proxies(cls, addresses: str) -> str:
        for each in filter(None, (part.strip() for part in addresses.split(","))):
            try:
                ipaddress.ip_address(each)
            except ValueError:
                raise ValueError(f"{each} is no address: name each proxy by its own, networks are not taken") from None
        return addresses

    @field_validator("clickhouse_url")
    @classmethod
    def _clickhouse_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return _readable(url)


def _readable(url: str | None) -> str | None:
    """Refuse what a client would fail on with a text of its own, in which a part of the password is."""
    if not _has_port(url or ""):
        raise ValueError("no port can be read in it: percent-encode all but letters and digits of user and password")
    return url


def _has_port(url: str) -> bool:
    """Tell whether what stands in the place of a port, if anything does, is one."""
    try:
        urlsplit(url).port  # noqa: B018  # which raises
    except ValueError:
        return False
    return True


def masked(address: str) -> str:
    """Give an address as it may be shown: without who comes, and with which password."""
    address = re.sub(r"(?<=[?&]password=)[^&]*", "***", address)
    scheme, separator, rest = address.partition("://") if "://" in address else ("", "", address)
    _user, at, place = rest.rpartition("@")
    if separator and not at and not _has_port(address):
        return f"{scheme}{separator}***"  # the place may be forgotten, and what stands there be a name and a password
    return f"{scheme}{separator}***@{place}" if at else address


def load() -> Settings:
    """Read the environment.

    Raises:
        SettingError: a variable's value cannot be used; the text names variable, value and rule.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"AIRTALLY_{'_'.join(str(part) for part in problem['loc']).upper()}={_shown(problem['input'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingError("\n".join(lines)) from None


def _shown(value: object) -> str:
    return repr(masked(value) if isinstance(value, str) else value)
