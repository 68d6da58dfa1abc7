"""Records as they should be, and what a careless publisher makes of them."""

import json
from typing import Any

from hypothesis import strategies as st

Json = Any  # what json.dumps takes
INSTANT = 1_767_297_600_000

IDS = st.sampled_from(["a", "0", "a-", "0--9", "best-song", "z" * 63]) | st.text("az09", min_size=1, max_size=63)
INSTANTS = st.integers(0, 2**53 - 1) | st.sampled_from([0, INSTANT, 2**53 - 1])
LABELS = st.none() | st.text(min_size=1, max_size=8)
COLORS = st.none() | st.text("09afAF", min_size=6, max_size=6).map("#{}".format)
OPTIONS = st.fixed_dictionaries({"id": IDS}, optional={"label": LABELS, "color": COLORS})

VOTES = st.fixed_dictionaries(
    {
        "type": st.just("vote"),
        "vote_id": st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()),
        "show_id": IDS,
        "poll_id": IDS,
        "option_id": IDS,
        "voter_id": st.text("azAZ09_-", min_size=1, max_size=64),
        "cast_at": INSTANTS,
        "edge_id": IDS,
        "channel": IDS,
    }
)
OPENED = st.fixed_dictionaries(
    {
        "type": st.just("poll.opened"),
        "show_id": IDS,
        "poll_id": IDS,
        "opened_at": INSTANTS,
        "options": st.lists(OPTIONS, min_size=1, max_size=4, unique_by=lambda option: option["id"]),
    },
    optional={
        "votes_per_voter": st.integers(1, 1_000_000),
        "window_ms": st.just(1000),
        "dedupe_horizon_ms": st.none() | st.integers(1000, 2**53 - 1),
    },
)
CLOSED = st.fixed_dictionaries({"type": st.just("poll.closed"), "show_id": IDS, "poll_id": IDS, "closed_at": INSTANTS})
FINAL = st.fixed_dictionaries({"type": st.just("poll.final"), "show_id": IDS, "poll_id": IDS})
VOTERS = st.text("azAZ09_-", min_size=1, max_size=64)
CONDITIONS = {
    "edge_ids": st.lists(IDS, min_size=1, max_size=3),
    "channels": st.lists(IDS, min_size=1, max_size=3),
    "voter_ids": st.lists(VOTERS, min_size=1, max_size=3),
    "voters_from": VOTERS,
    "voters_to": VOTERS,
    "cast_from": INSTANTS,
    "cast_before": INSTANTS,
}
DECISION = {"show_id": IDS, "poll_id": IDS, "void_id": IDS, "reason": st.text(min_size=1), "author": st.just("A. L.")}
VOIDED = st.fixed_dictionaries({"type": st.just("votes.voided"), **DECISION}, optional=CONDITIONS).filter(
    lambda record: not CONDITIONS.keys().isdisjoint(record)
)
REINSTATED = st.fixed_dictionaries({"type": st.just("votes.reinstated"), **DECISION})
VALID = VOTES | OPENED | CLOSED | FINAL | VOIDED | REINSTATED

# Edges first: each of these has been right or wrong by one in somebody's decoder.
NUMBERS = st.sampled_from(
    [-(2**63), -1, 0, 1, 999, 1000, 1001, 1_000_000, 1_000_001, 2**53 - 1, 2**53, 2**63, 2**64 - 1, 2**64, 2**70]
) | st.sampled_from([0.0, -0.0, 1.0, 1000.0, float(INSTANT), 1.5, 1e16, 1e308, 5e-324])
TEXTS = st.sampled_from(
    [
        *("", "a", "A", "-a", "a\n", "a\nb", "\na", "a b", "a" * 63, "a" * 64, "a" * 65, "_", "a\0"),
        *("ä", "a\u0661", "\u212a", "\ud83c", "\ufeff", "🎤" * 200, "🎤" * 201),
        *(
            "vote",
            "poll.opened",
            "poll.closed",
            "poll.final",
            "poll",
            "votes.voided",
            "#ff5a36",
            "#ff5a36\n",
            "#f53",
            "ff5a36",
        ),
        "00000000-0000-0000-0000-00000000000a",
        "00000000-0000-0000-0000-00000000000a\n",
        "00000000-0000-0000-0000-00000000000a\n00000000-0000-0000-0000-00000000000b",
    ]
) | st.text(max_size=5)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a valid record with up to three changes, as JSON: many of these are still valid."""
    record: dict[str, Json] = dict(draw(VALID))
    for _ in range(draw(st.integers(0, 3))):
        _change(draw, record)
    items = list(draw(st.permutations(list(record.items()))))
    if draw(st.integers(0, 9)) == 0:  # the same key once more, with any value: the last one holds
        items.append((draw(st.sampled_from([name for name, _ in items] or ["type"])), draw(ANYTHING)))
    ascii_only = draw(st.booleans())
    text = ",".join(
        f"{json.dumps(name, ensure_ascii=ascii_only)}:{json.dumps(inner, ensure_ascii=ascii_only)}"
        for name, inner in items
    )
    return f"{{{text}}}".encode("utf-8", "surrogatepass")


def _change(draw: st.DrawFn, record: dict[str, Json]) -> None:
    """Drop, replace or add a field, of the record or of one of its options."""
    options = record.get("options")
    inner = [option for option in options if isinstance(option, dict)] if isinstance(options, list) else []
    target = draw(st.sampled_from([record, *inner]))
    kind = draw(st.sampled_from(["drop", "replace", "add", "repeat an option"]))
    if kind == "repeat an option" and inner:
        record["options"] = [*inner, draw(st.sampled_from(inner))]
    elif kind == "add" or not target:
        target[
            draw(st.sampled_from(["note", "options", "cast_at", "label", "type", "TYPE", "edge_ids", "voters_to", ""]))
        ] = draw(ANYTHING)
    elif kind == "drop":
        del target[draw(st.sampled_from(sorted(target)))]
    else:
        target[draw(st.sampled_from(sorted(target)))] = draw(ANYTHING)
