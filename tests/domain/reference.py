"""The ten rules, slow and obvious: written from the table in the design, sharing nothing with the fold.

One record at a time, dicts and sets, nothing is ever forgotten. Each rule is a method, so that a test can break one.
"""

import json
from collections import Counter
from typing import Any, NamedTuple

VOTE_FIELDS = {"vote_id", "show_id", "poll_id", "option_id", "voter_id", "cast_at", "edge_id", "channel"}


MARKERS = ("poll.opened", "poll.closed", "poll.final", "votes.voided", "votes.reinstated")


class Entry(NamedTuple):
    """One record of the log."""

    append_time: int
    key: bytes | None
    value: bytes | None


class Reference:
    """One partition, folded by hand."""

    def __init__(self) -> None:
        self.clock = 0
        self.polls: dict[str, dict[str, Any]] = {}  # poll -> its opening marker, with closed_at and final
        self.appearances: dict[
            tuple[str, str], list[int]
        ] = {}  # (poll, vote id) -> clock at each time rule 8 was asked
        self.votes: list[tuple[str, str, str, int]] = []  # those counted: poll, voter, option, second
        self.edges: dict[tuple[str, str], int] = {}  # (poll, edge) -> append time of its last vote since the opening

    def outcome(self, entry: Entry) -> str:
        self.tick(entry.append_time)
        record = self.read(entry.value)
        if record is None:
            return "malformed"
        if record["type"] != "vote":
            self.marker(record)
            return "marker"
        self.hear(record, entry.append_time)
        if entry.key != record["voter_id"].encode():
            return "wrong_key"
        return self.vote(record, self.polls.get(poll_of(record)), entry.append_time)

    def hear(self, vote: dict[str, Any], append_time: int) -> None:
        if poll_of(vote) in self.polls:
            self.edges[poll_of(vote), vote["edge_id"]] = append_time

    def vote(self, vote: dict[str, Any], poll: dict[str, Any] | None, append_time: int) -> str:
        if poll is None or not self.opened_by(poll, vote["cast_at"]):
            return "poll_not_open"
        if vote["option_id"] not in [option["id"] for option in poll["options"]]:
            return "unknown_option"
        if poll["final"] or self.over(poll, vote["cast_at"]):
            return "late"
        if not self.plausible(vote["cast_at"] - append_time):
            return "implausible_time"
        if self.repeats(poll, vote):
            return "duplicate"
        if self.votes_of(vote) >= poll.get("votes_per_voter", 1):
            return "over_limit"
        self.votes.append((poll_of(vote), vote["voter_id"], vote["option_id"], vote["cast_at"] // 1000 * 1000))
        return "counted"

    def tick(self, append_time: int) -> None:
        self.clock = max(self.clock, append_time)

    def read(self, value: bytes | None) -> dict[str, Any] | None:
        """Read what the logs of these tests hold: JSON or none, and votes with or without all their fields."""
        try:
            record: dict[str, Any] = json.loads(value or b"")
        except ValueError:
            return None
        if record["type"] == "vote" and not set(record) >= VOTE_FIELDS:
            return None
        return record if record["type"] in ("vote", *MARKERS) else None

    def marker(self, marker: dict[str, Any]) -> None:
        poll = self.polls.get(poll_of(marker))
        if marker["type"] == "poll.opened":
            self.opening(poll, marker)
        elif poll is not None and marker["type"] == "poll.closed":
            self.close(poll, marker["closed_at"])
        elif poll is not None and marker["type"].startswith("votes."):
            self.void(poll["voids"], marker)
        elif poll is not None and poll["closed_at"] is not None:
            poll["final"] = True

    def void(self, voids: dict[str, list[str]], marker: dict[str, Any]) -> None:
        """Note the reason of each void, and that of its end."""
        reasons = voids.get(marker["void_id"], [])
        if marker["type"] == "votes.voided" and not reasons:
            voids[marker["void_id"]] = [marker["reason"]]
        elif marker["type"] == "votes.reinstated" and len(reasons) == 1:
            reasons.append(marker["reason"])

    def opening(self, poll: dict[str, Any] | None, marker: dict[str, Any]) -> None:
        if poll is None:
            self.polls[poll_of(marker)] = {**marker, "closed_at": None, "final": False, "voids": {}}

    def close(self, poll: dict[str, Any], closed_at: int) -> None:
        if poll["closed_at"] is None and closed_at >= poll["opened_at"]:
            poll["closed_at"] = closed_at

    def opened_by(self, poll: dict[str, Any], cast_at: int) -> bool:
        return bool(cast_at >= poll["opened_at"])

    def over(self, poll: dict[str, Any], cast_at: int) -> bool:
        return poll["closed_at"] is not None and cast_at >= poll["closed_at"]

    def plausible(self, ahead_ms: int) -> bool:
        return -60_000 <= ahead_ms <= 5_000

    def repeats(self, poll: dict[str, Any], vote: dict[str, Any]) -> bool:
        before = self.appearances.setdefault((poll_of(vote), vote["vote_id"].lower()), [])
        remembered = [clock for clock in before if self.remembers(clock, poll.get("dedupe_horizon_ms"))]
        before.append(self.clock)
        return bool(remembered)

    def remembers(self, clock: int, horizon: int | None) -> bool:
        return horizon is None or self.clock // horizon - clock // horizon <= 1

    def votes_of(self, vote: dict[str, Any]) -> int:
        return len([voter for poll, voter, _, _ in self.votes if (poll, voter) == (poll_of(vote), vote["voter_id"])])

    def totals(self) -> Counter[tuple[str, str]]:
        return Counter((poll, option) for poll, _, option, _ in self.votes)

    def windows(self) -> Counter[tuple[str, str, int]]:
        return Counter((poll, option, second) for poll, _, option, second in self.votes)


def poll_of(record: dict[str, Any]) -> str:
    return f"{record['show_id']}/{record['poll_id']}"
