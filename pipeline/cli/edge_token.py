"""`airtally edge-token`: access for edges in front."""

import time
import uuid
from typing import Annotated, Any

import typer
from redis.asyncio import Redis

from pipeline.cli.context import Json, command, console, print_json, settings
from pipeline.clock import now_ms
from pipeline.edge.tokens import MARK, REVOKED_KEY, Tokens, marks_of
from pipeline.ledger.connection import connect, unavailable_if_down

app = typer.Typer(no_args_is_help=True, help="Access tokens of edges in front of `airtally edge`.")


@app.command("mint")
@command
def mint(
    edge: Annotated[str, typer.Argument(help="The edge's id; it stands in its votes.")],
    days: Annotated[float, typer.Option(min=0.001, help="How long it is valid.")] = 30.0,
    *,
    json: Json = False,
) -> None:
    """Make a token, signed by the first of AIRTALLY_EDGE_TOKEN_KEYS. Whoever has it may send votes: keep it secret.

    To replace a key: put a new one first and keep the old one behind it, mint new tokens, hand them out, drop the old key.
    """
    token, grant = Tokens.from_settings(settings()).mint(edge, days)
    if json:
        print_json(
            {"token": token, "edge_id": grant.edge_id, "token_id": grant.token_id, "expires_at": grant.expires_at}
        )
        return
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(grant.expires_at))
    console.print(f"for {grant.edge_id}, id {grant.token_id}, until {until}", highlight=False)
    console.print(token, highlight=False, soft_wrap=True)


@app.command("revoke")
@command
async def revoke(
    name: Annotated[str, typer.Argument(help="A token's id, or an edge's: then all its tokens.")],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Let it in again.")] = False,
) -> None:
    """Refuse a token, or all of an edge, from now on: running edges look some times a second."""
    client = connect(settings())
    try:
        with unavailable_if_down():
            mark, changes = marks_of(await _members(client))
            change = max(changes + 1, now_ms())  # later than any before, whatever was lost
            async with client.pipeline(transaction=True) as pipe:
                pipe.execute_command("SREM" if undo else "SADD", REVOKED_KEY, name)
                pipe.execute_command("SREM", REVOKED_KEY, f"{MARK}{changes}")
                pipe.execute_command("SADD", REVOKED_KEY, mark or f"{MARK}{uuid.uuid4()}", f"{MARK}{change}")
                await pipe.execute()
            revoked = await _members(client)
    finally:
        await client.aclose()
    named = ", ".join(sorted(each for each in revoked if not each.startswith(MARK)))
    console.print(f"revoked: {named or 'nothing'}", highlight=False)


async def _members(client: Redis) -> set[str]:
    found: Any = await client.smembers(REVOKED_KEY)
    return {name.decode() for name in found}
