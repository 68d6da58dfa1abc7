"""Values that are read beside others, in columns, are what they are when decoded alone."""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest

from pipeline.domain import columns, models, record
from pipeline.domain.record import MAX_INSTANT_MS, Record, Vote, decode
from pipeline.domain.strings import Strings
from pipeline.show.ballots import Ballots
from pipeline.show.forms import MALFORMED, UNUSUAL
from pipeline.show.script import FINALISTS

from .reading import in_small_letters, records_in

NOW = 1_790_000_000_000
ORDINARY = {
    "type": "vote",
    "vote_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "show_id": "grand-final",
    "poll_id": "winner",
    "option_id": "ada",
    "voter_id": "AbCdEfGhIjKlMnOpQrSt-_",
    "cast_at": NOW,
    "edge_id": "edge-fra-1",
    "channel": "app",
}
MARKERS = [
    b'{"type":"poll.closed","show_id":"grand-final","poll_id":"winner","closed_at":1790000000000}',
    b'{"type":"poll.final","show_id":"grand-final","poll_id":"winner"}',
]


def alone(values: list[bytes | None]) -> list[Record | None]:
    return [in_small_letters(decode(value)) for value in values]


def thrown(random: Random, **fields: Any) -> dict[str, Any]:
    """Make an ordinary vote of somebody."""
    vote_id = f"{random.getrandbits(128):032x}"
    return ORDINARY | {
        "vote_id": "-".join((vote_id[:8], vote_id[8:12], vote_id[12:16], vote_id[16:20], vote_id[20:])),
        "voter_id": f"{random.getrandbits(64):016x}-v_X9z",
        "cast_at": NOW + random.randrange(100_000),
        **fields,
    }


def crowd(random: Random, size: int) -> list[bytes]:
    """Make ordinary votes for all options, as edges write them."""
    ballots, voters = (
        Ballots("grand-final", "winner", FINALISTS),
        [random.randbytes(11).hex().encode() for _ in range(size)],
    )
    return ballots.votes(random, voters, bytes(random.choices(range(len(FINALISTS)), k=size)), NOW)


def altered(random: Random, value: bytes) -> bytes | None:
    """Do to a value what happens to values."""
    what = random.randrange(6)
    if what == 5:
        return random.choice(MARKERS)
    if what == 0:
        return random.choice([*UNUSUAL.values()])(value)
    if what == 1:
        return random.choice([*MALFORMED.values()])(value)
    place = random.randrange(len(value))
    if what == 2:
        return value[:place] + random.randbytes(1) + value[place + 1 :]
    if what == 3:
        return value[:place] + random.choice([b'"', b"\\", b"0", b"-", b"a", b"}", b" ", b"\0"]) + value[place + 1 :]
    return value[:place] + value[place + 1 :] + b" "  # as long as before


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """The values that are decoded by themselves in the course of a test."""
    values: list[bytes | None] = []

    def noted(value: bytes | None) -> Record | None:
        values.append(value)
        return record.decode(value)

    for module in (columns, models):
        monkeypatch.setattr(module, "decode", noted)
    monkeypatch.setattr(models, "_models", models.Models())
    return values


@pytest.mark.parametrize("seed", range(40))
def test_any_mixture_of_values(seed: int) -> None:
    random = Random(seed)
    share = random.choice([0.0, 0.01, 0.3])
    values = [
        altered(random, value) if random.random() < share else value
        for value in crowd(random, random.choice([0, 1, 47, 48, 700]))
    ]
    assert records_in(values) == alone(values)


def test_of_many_votes_few_are_decoded(decoded: list[bytes | None]) -> None:
    values = crowd(Random(1), 3000)
    assert columns.read_columns(Strings.of(values)).others == {}
    assert 0 < len(decoded) < 200
    first = len(decoded)
    columns.read_columns(Strings.of(values))
    assert len(decoded) - first < 20, "models are known"


@pytest.mark.parametrize("stray", [*MARKERS, b"junk", None])
def test_what_stands_before_votes_does_not_make_them_slow(stray: bytes | None, decoded: list[bytes | None]) -> None:
    values = [*[stray] * 40, *crowd(Random(1), 3000)]
    assert records_in(values) == alone(values)
    assert len(decoded) < 300


def test_votes_that_differ_in_high_bits_have_hashes_of_their_own(decoded: list[bytes | None]) -> None:
    """A row that is like others but for the highest bits of two words would be taken for one of their kind by a plain sum."""
    good = [json.dumps(thrown(Random(seed)), separators=(",", ":")).encode() for seed in range(600)]
    other = json.dumps(thrown(Random(600), channel="web"), separators=(",", ":")).encode()
    bent = bytearray(good[0])
    bent[7] ^= 0x80
    bent[15] ^= 0x80
    values: list[bytes | None] = [other, bytes(bent), *good]
    assert records_in(values) == alone(values)
    assert len(decoded) < 50


LURES: dict[str, dict[str, Any]] = {
    "a voter named as a field is": {"voter_id": "cast_at"},
    "a voter whose name is an instant": {"voter_id": str(NOW)},
    "a show named as an instant is written": {"show_id": str(NOW)},
    "a voter who is a UUID, as the vote is": {"voter_id": ORDINARY["vote_id"]},
    "a skipped part with fields of the same names": {"more": {"vote_id": ORDINARY["vote_id"], "cast_at": NOW}},
    "a skipped text with a field in it": {"more": f'"voter_id":"{ORDINARY["voter_id"]}"'},
    "escapes": {"more": 'a "b" \\ c'},
    "text beyond ASCII": {"more": "Zoë"},
    "a channel that is none": {"channel": "App"},
    "an instant of ten digits": {"cast_at": 1_790_000_000},
    "the instant 0": {"cast_at": 0},
    "an instant of sixteen digits": {"cast_at": MAX_INSTANT_MS},
}


@pytest.mark.parametrize("lure", LURES)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", " :\t")])
def test_votes_that_could_be_misread(lure: str, separators: tuple[str, str]) -> None:
    random = Random(1)
    values: list[bytes | None] = [
        json.dumps(thrown(random) | LURES[lure], ensure_ascii=False, separators=separators).encode() for _ in range(200)
    ]
    values += [json.dumps(thrown(random), separators=separators).encode() for _ in range(200)]
    random.shuffle(values)
    assert records_in(values) == alone(values)


def fields_in_place_of_good_ones() -> Iterator[tuple[str, bytes]]:
    """Give what may stand where a field of the other votes does, and is as long."""
    for name, text in (("vote_id", ORDINARY["vote_id"]), ("voter_id", ORDINARY["voter_id"]), ("cast_at", str(NOW))):
        good = str(text).encode()
        for place in (0, 8, len(good) - 1):
            for byte in b'\0\t\n "\\,-.0/9:;@AGZ[_`agz{}\x7f\x80\xff':
                yield name, good[:place] + bytes((byte,)) + good[place + 1 :]
        yield name, b'"' + b" " * (len(good) - 1)
        yield name, "é".encode() * (len(good) // 2) + b"a" * (len(good) % 2)
        yield name, b"1e" + b"1".rjust(len(good) - 2, b"0")
        yield name, b"-" * len(good)
        yield name, b"1." + b"0" * (len(good) - 2)


@pytest.mark.parametrize("first", [True, False])
def test_no_field_is_taken_unread(first: bool) -> None:
    random, values = Random(1), list[bytes | None]()
    vote = json.dumps(ORDINARY, separators=(",", ":")).encode()
    for name, text in fields_in_place_of_good_ones():
        good = json.dumps(ORDINARY[name]).encode().strip(b'"')
        assert len(text) == len(good)
        values.append(vote.replace(good, text, 1))
    good_ones = [json.dumps(thrown(random), separators=(",", ":")).encode() for _ in values]
    batch = [*values, *good_ones] if first else [*good_ones, *values]
    assert records_in(batch) == alone(batch)
    assert 20 < sum(isinstance(decode(value), Vote) for value in values) < len(values) - 100


@pytest.mark.parametrize("name", ["vote_id", "voter_id", "cast_at"])
@pytest.mark.parametrize("filler", ["0", "x", "1", ""])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_a_key_that_stands_twice(name: str, filler: str, is_escaped: bool) -> None:
    """The last one holds, also where the first has what other votes have there; and where both have the same, at first."""
    random, good = Random(1), str(ORDINARY[name])
    text = json.dumps(re.sub(r"\w", filler, good) if filler else good)
    text = text.strip('"') if name == "cast_at" else text
    again = rf'"\u{ord(name[0]):04x}{name[1:]}":{text}' if is_escaped else f'"{name}":{text}'
    votes = [json.dumps(thrown(random), separators=(",", ":")) for _ in range(100)]
    votes[0] = votes[0].replace(json.dumps(json.loads(votes[0])[name]), text)
    for values in (
        [f"{vote[:-1]},{again}}}".encode() for vote in votes],
        [f"{{{again},{vote[1:]}".encode() for vote in votes],
    ):
        assert records_in(values) == alone([*values])


@pytest.mark.parametrize("is_first", [True, False])
def test_fields_that_have_changed_places(is_first: bool) -> None:
    """Where others have the voter, these have a field that is skipped, as long as a voter and with a name as long."""
    random, values = Random(1), list[bytes | None]()
    for _ in range(200):
        vote, text = thrown(random), str(ORDINARY["voter_id"])
        voter = vote.pop("voter_id")
        values.append(json.dumps({**vote, "voter_id": voter, "voter_ix": text}, separators=(",", ":")).encode())
        values.append(json.dumps({**vote, "voter_ix": voter, "voter_id": text}, separators=(",", ":")).encode())
    assert records_in(values[not is_first :]) == alone(values[not is_first :])


@pytest.mark.parametrize("end", [b"", b"\0", b" ", b"\0\0\0\0\0\0\0\0"])
def test_what_only_differs_in_its_end(end: bytes) -> None:
    random = Random(1)
    values: list[bytes | None] = [*crowd(random, 300)]
    values += [(value or b"") + end for value in values]
    assert records_in(values) == alone(values)


def test_kinds_that_have_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_models", models.Models())
    monkeypatch.setattr(models, "_KEYS", np.zeros_like(models._KEYS))
    values: list[bytes | None] = [*crowd(Random(1), 1000)]
    assert records_in(values) == alone(values)


def test_the_longest_rows() -> None:
    random = Random(1)
    values: list[bytes | None] = []
    for length in (models.LONGEST - 1, models.LONGEST, models.LONGEST + 1):
        short = json.dumps(thrown(random, more="")).encode()
        more = b"x" * (length - len(short))
        values += [json.dumps(thrown(random, more=more.decode())).encode() for _ in range(100)]
    assert records_in(values) == alone(values)


def test_votes_that_are_all_unlike() -> None:
    random = Random(1)
    values: list[bytes | None] = [
        json.dumps(thrown(random, more="x" * random.randrange(2500), voter_id="v" * random.randrange(1, 66))).encode()
        for _ in range(1500)
    ]
    values += [json.dumps(thrown(random, option_id="o" * random.randrange(1, 64))).encode() for _ in range(1500)]
    random.shuffle(values)
    assert records_in(values) == alone(values)


def test_models_that_are_too_many_are_forgotten(monkeypatch: pytest.MonkeyPatch, decoded: list[bytes | None]) -> None:
    for name, most in (("MOST_MODELS", 8), ("MOST_LAYOUTS", 6), ("MOST_OF_LENGTH", 2)):
        monkeypatch.setattr(models, name, most)
    monkeypatch.setattr(models, "_models", models.Models())
    random = Random(1)
    seen = set()
    for number in range(30):
        keys = list(ORDINARY)
        random.shuffle(keys)  # layouts of one length
        options = [f"option-{number + more}" + "x" * (number % 7) for more in range(3)]
        values: list[bytes | None] = []
        for _ in range(90):
            vote = thrown(random, option_id=random.choice(options))
            values.append(json.dumps({key: vote[key] for key in keys}, separators=(",", ":")).encode())
        assert records_in(values) == alone(values)
        seen.add(id(models._models))
    assert len(seen) > 3
    assert len(decoded) > 90


@pytest.mark.usefixtures("decoded")
def test_a_part_that_is_another_in_each_vote_is_not_learned_for_ever() -> None:
    random = Random(1)
    values: list[bytes | None] = [
        json.dumps(thrown(random, trace=random.getrandbits(64))).encode() for _ in range(2000)
    ]
    assert records_in(values) == alone(values)
    assert len(models._models.kinds) < 3 * columns.MOST_UNLIKE


def test_a_layout_more_than_there_is_room_for_is_learned_when_others_are_forgotten(decoded: list[bytes | None]) -> None:
    random = Random(1)
    for size in range(1, models.MOST_OF_LENGTH + 4):  # one length, with the voter at another place in each
        ids = {"option_id": "o" * size, "edge_id": "e" * (24 - size)}
        keys = [*ORDINARY]
        keys.remove("voter_id")
        keys.insert(keys.index("option_id") + 1, "voter_id")
        for _ in range(3):
            decoded.clear()
            votes = [thrown(random, **ids) for _ in range(500)]
            values: list[bytes | None] = [
                json.dumps({key: vote[key] for key in keys}, separators=(",", ":")).encode() for vote in votes
            ]
            assert records_in(values) == alone(values)
        assert len(decoded) < 10


def test_a_model_is_what_it_is_whatever_its_fields_are() -> None:
    """A voter whose name is a part of the field's own, and instants of more digits than are compared."""
    vote = json.dumps(ORDINARY | {"voter_id": "v"}).encode()
    values: list[bytes | None] = [vote, vote, vote, vote.replace(b'"voter_id"', b'"xoter_id"')]
    assert records_in(values) == alone(values)
    instants = (2**53 - 1, 2**53 - 1, 2**53, 10**16 - 1, 10**15 - 1, 10**15 - 2, 10**14, 10**14 + 7)
    of_instants: list[bytes | None] = [json.dumps(ORDINARY | {"cast_at": instant}).encode() for instant in instants]
    assert records_in(of_instants) == alone(of_instants)
