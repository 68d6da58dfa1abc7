"""The parts of the edge that need no server: pseudonyms, token buckets, addresses."""

import base64
import hmac
import re
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.edge import Ballot, BallotError, VotePublisher
from pipeline.edge import ballots as module
from pipeline.edge.buckets import Buckets
from pipeline.edge.door import network_of
from pipeline.edge.pseudonym import Pseudonyms
from pipeline.edge.recent import Recent
from pipeline.edge.tokens import Tokens
from pipeline.errors import SettingError
from pipeline.settings import Settings
from pipeline.web.problems import ProblemError

from .viewers import SECRET

UUID = "01234567-89ab-4cde-8f01-23456789abcd"
GOOD = Ballot(vote_id=UUID, show_id="gala", poll_id="best", option_id="ada", voter="account 4711")


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_pseudonym_is_the_voters_own_within_a_show_and_no_other(one: str, other: str) -> None:
    names = Pseudonyms(SECRET)
    (name,) = names.of_all("gala", [one])
    assert re.fullmatch("[A-Za-z0-9_-]{22}", name)
    assert names.of_all("gala", [one, other, one]) == [name, *Pseudonyms(SECRET).of_all("gala", [other]), name]
    assert len(set(names.of_all("gala", [one, other]))) == len({one, other})
    assert names.of_all("finale", [one]) != [name]
    assert Pseudonyms(SECRET + "!").of_all("gala", [one]) != [name]


def test_a_pseudonym_does_not_change_with_versions() -> None:
    # By openssl, 16 bytes: HMAC-SHA256 of "account 4711" under that of "airtally voter pseudonym 1\0gala\1" under the secret.
    assert Pseudonyms(SECRET).of_all("gala", ["account 4711"]) == ["q-jjkO5qfpaz6BDdYHdrsw"]


@given(st.text(max_size=100))
def test_a_pseudonym_is_the_beginning_of_an_hmac(voter: str) -> None:
    key = hmac.digest(SECRET.encode(), b"airtally voter pseudonym 1\0gala\1", "sha256")
    message = voter.encode(errors="replace")
    code = hmac.digest(key, message, "sha256")[:16]
    (name,) = Pseudonyms(SECRET).of_all("gala", [message.decode()])
    assert base64.urlsafe_b64decode(name + "==") == code


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_there_is_no_publisher_without_a_secret(secret: str | None) -> None:
    with pytest.raises(SettingError, match="openssl"):
        VotePublisher(Settings(kafka="127.0.0.1:1", edge_secret=secret))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vote_id", "7"), ("vote_id", UUID + "\n"), ("show_id", "Gala"), ("poll_id", ""), ("option_id", "a b"),
        ("voter", ""), ("voter", "v" * 257), ("voter", "\ud800"), ("channel", "TV!"), ("cast_at", -1), ("cast_at", 2**53),
    ],
)  # fmt: skip
def test_a_ballot_that_would_be_malformed_is_named_without_its_voter(field: str, value: object) -> None:
    fields = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__} | {field: value}
    with pytest.raises(BallotError, match=field) as raised:
        Ballot(**fields).check()
    assert "4711" not in str(raised.value)
    GOOD.check()


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=60))
def test_a_bucket_never_gives_more_than_its_rate(takes: list[tuple[float, int]]) -> None:
    """Compared with the bucket as everybody draws it: so many tokens in it, and a drip."""
    buckets, left, last, now = Buckets(2.0, 5.0, 10), 5.0, 0.0, 0.0
    for after, tokens in takes:
        now += after
        left, last = min(5.0, left + 2.0 * (now - last)), now
        wait_s = buckets.take("a", now, tokens)
        assert (wait_s == 0) == (left >= tokens - 1e-6)
        if wait_s == 0:
            left -= tokens
        else:
            assert wait_s == pytest.approx((tokens - left) / 2.0)


def test_buckets_are_bounded_and_the_least_used_are_forgotten() -> None:
    buckets = Buckets(0.001, 1.0, 100)
    given_ = Counter[bool]()
    for number in range(1_000):
        given_[buckets.take(f"voter {number}", 0.0) == 0.0] += 1
        given_[buckets.take("always here", float(number)) == 0.0] += 1
        assert len(buckets) <= 100
    assert given_ == {True: 1_001, False: 999}


@given(st.lists(st.integers(0, 12)), st.integers(1, 12))
def test_what_came_lately_is_remembered(names: list[int], most: int) -> None:
    """Compared with what an exact memory has: the half that came last, and no value that was not the last."""
    recent, last = Recent[int](most), dict[int, int]()
    for value, name in enumerate(names):
        recent.put(name, value)
        last.pop(name, None)
        last[name] = value
        assert len(recent) <= max(2, most)
        assert recent.get(name, -1) == value
        for number, (each, its) in enumerate(reversed(last.items())):
            assert recent.get(each, -1) in ({its} if number < most // 2 else {its, -1})


def test_many_names_are_shared_out_and_the_last_are_remembered() -> None:
    recent = Recent[int](100_000)
    for number in range(300_000):
        recent.put(f"voter {number}", number)
    assert 50_000 < len(recent) <= 100_000
    # A part that happens to get more than its share turns over sooner.
    assert all(recent.get(f"voter {number}", -1) == number for number in range(300_000 - 30_000, 300_000))
    assert recent.get("voter 0", -1) == -1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("unknown", "unknown"),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


ODD_IDS = {
    "vote_id": [
        "",
        "x",
        UUID.upper(),
        UUID + "\n",
        UUID[:-1],
        f"{UUID} ada web\n{UUID}",
        f"{UUID} ada",
        "\n",
        " " + UUID,
    ],
    "option_id": ["", "ada\n", "Ada", "a" * 63, "a" * 64, f"ada web\n{UUID} ada", "ada web", "é", "-a"],
    "channel": ["", "web\n", "WEB", f"web\n{UUID} ada web", "web\n", "\nweb", "web web"],
}


@pytest.mark.parametrize("name", ODD_IDS)
@pytest.mark.parametrize("beside", [0, 2])
def test_ids_that_are_checked_together_are_as_good_as_checked_alone(name: str, beside: int) -> None:
    good = {"vote_id": UUID, "option_id": "ada", "voter": "ann", "channel": "web"}
    for text in ODD_IDS[name]:
        odd = good | {name: text}
        body = msgspec.json.encode([good] * beside + [odd] + [good] * beside)
        problem = problem_with(odd)
        if problem is None:
            read = module.read_forwarded(body)
            assert [ballot.vote_id for ballot in read] == [UUID] * beside + [odd["vote_id"]] + [UUID] * beside
            continue
        with pytest.raises(msgspec.ValidationError) as raised:
            module.read_forwarded(body)
        assert str(raised.value) == problem.replace("`$.", f"`$[{beside}].")


def problem_with(ballot: dict[str, str]) -> str | None:
    try:
        module.read_posted(msgspec.json.encode(ballot))
    except msgspec.ValidationError as error:
        return str(error)
    return None


@pytest.mark.parametrize("proxies", ["10.0.0.0/8", "10.0.0.1, gateway.example"])
def test_what_is_no_address_is_no_proxy(proxies: str) -> None:
    with pytest.raises(ValidationError, match="networks are not taken"):
        Settings(edge_proxies=proxies)


def test_what_was_revoked_stays_so_when_the_set_is_lost() -> None:
    tokens = Tokens({"new": "0123456789abcdef0123456789abcdef"})
    token, grant = tokens.mint("cdn-1", 1)
    for found, is_refused in (
        ({"cdn-1"}, True),  # of an older version, and without a mark
        ({"-a", "-1", "cdn-1"}, True),
        ({"-a", "-2"}, False),  # undone
        ({"-a", "-3", grant.token_id}, True),
        ({"-a", "-2"}, True),  # the last change is lost, as by a failover
        ({"-a", "-9", "cdn-2"}, True),
        (set[str](), True),  # all is lost
        ({"-b", "-10", "cdn-2"}, True),
        ({"-b", "-11"}, True),
    ):
        tokens.refuse(found)
        if is_refused:
            with pytest.raises(ProblemError, match="revoked"):
                tokens.verify(token)
        else:
            assert tokens.verify(token) == grant
