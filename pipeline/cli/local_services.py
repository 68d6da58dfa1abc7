"""Our services as the local system runs them, and what to do at the addresses that they serve."""

import sys
import uuid
from dataclasses import replace

from pydantic import SecretStr

from pipeline.domain.poll import PollId
from pipeline.local.edge_keys import EdgeKeys
from pipeline.local.ports import LOOPBACK
from pipeline.local.stack import Service
from pipeline.settings import Settings

HEALTH_PORTS = {"tally": 9101, "archive": 9102, "live": 9103, "edge": 9104}

# Unless somebody has set one: here all viewers, and those of `airtally load`, have the same address.
_ONE_ADDRESS = {"AIRTALLY_EDGE_ADDRESS_PER_S": "100000", "AIRTALLY_EDGE_ADDRESS_BURST": "100000"}


def worker(name: str, port: int, found: Settings) -> Service:
    """Describe one of our services as the local system runs it."""
    return Service(
        name=name,
        argv=[sys.executable, "-m", "pipeline.cli", name],
        ready_url=f"{_url(found.health_host, port)}/readyz",
        env={"AIRTALLY_HEALTH_PORT": str(port), "AIRTALLY_HEALTH_HOST": found.health_host},
    )


def display(port: int, live_port: int, found: Settings) -> Service:
    """Describe the live view: a service that also serves pages."""
    service = worker("live", port, found)
    env = {**service.env, "AIRTALLY_LIVE_PORT": str(live_port), "AIRTALLY_LIVE_HOST": found.live_host}
    return replace(service, address=_url(found.live_host, live_port), env=env)


def edge_service(port: int, edge_port: int, found: Settings, **more: str) -> Service:
    """Describe the edge: a service that takes votes, under the keys of these settings."""
    service = worker("edge", port, found)
    keys = {"AIRTALLY_EDGE_SECRET": found.edge_secret, "AIRTALLY_EDGE_TOKEN_KEYS": found.edge_token_keys}
    rates = {} if {"edge_address_per_s", "edge_address_burst"} & found.model_fields_set else _ONE_ADDRESS
    env = {
        **service.env,
        **rates,
        "AIRTALLY_EDGE_PORT": str(edge_port),
        "AIRTALLY_EDGE_HOST": found.edge_host,
        **{name: key.get_secret_value() for name, key in keys.items() if key is not None},
        **more,
    }
    return replace(service, address=_url(found.edge_host, edge_port), env=env)


def _url(host: str, port: int) -> str:
    """Give the address at which this machine reaches who listens there."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1", "": LOOPBACK}.get(host, host)  # noqa: S104  # compared, not listened on
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def with_keys(found: Settings, keys: EdgeKeys) -> Settings:
    """Complete the settings by the keys of a local edge; those that the environment gives win."""
    return found.model_copy(
        update={
            "edge_secret": found.edge_secret or SecretStr(keys.edge_secret),
            "edge_token_keys": found.edge_token_keys or SecretStr(keys.edge_token_keys),
        }
    )


def pages(url: str, poll: PollId | None = None) -> list[str]:
    """Give a line for each page: of a poll, or of all of them."""
    name = "<show>/<poll>" if poll is None else "/".join(poll)
    return [
        f"overlay     {url}/overlay/{name}  for OBS, vMix, CasparCG, SPX",
        f"host        {url}/host/{name}",
        f"all polls   {url}/",
    ]


def voting(url: str, poll: PollId | None = None, option: str = "<option>") -> str:
    """Give a line that votes through the edge: the same vote, if it is used again."""
    show_id, poll_id = ("<show>", "<poll>") if poll is None else poll
    ballot = f"""'{{"vote_id":"{uuid.uuid4()}","option_id":"{option}","voter":"me"}}'"""
    address = f"'{url}/v1/shows/{show_id}/polls/{poll_id}/votes'"
    return f"vote        curl -d {ballot} -H 'Content-Type: application/json' {address}"
