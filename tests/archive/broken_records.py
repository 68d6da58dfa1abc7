"""Values valid and broken in every way we could think of, by chance from a seed: as JSON text, not through a JSON writer.

A record is a list of (key text, value text), so that keys can stand twice, numbers can have any form, and escapes too.
"""

from random import Random
from string import hexdigits

from .odd_texts import BYTES, NUMBERS, SPACES, TEXTS, UUIDS, WHOLE

OPENED_AT = 1_767_297_600_000

Field = tuple[str, str]

DECISIONS = ("votes.voided", "votes.voided", "votes.reinstated")


def throw_value(random: Random) -> bytes | None:
    """Make one value: about a third of them is valid."""
    die = random.random()
    if die < 0.02:
        return random.choice((None, *WHOLE))
    value = _written(random, _changed(random, throw_fields(random)))
    return value if die < 0.85 else _bent(random, value)


def throw_fields(random: Random) -> list[Field]:
    """Make the fields of a valid record, in any order."""
    kind = random.choice(("vote",) * 6 + ("poll.opened",) * 4 + ("poll.closed", "poll.final") * 2 + DECISIONS)
    fields = [("type", _quoted(kind)), ("show_id", '"finale"'), ("poll_id", random.choice(('"song"', '"semi"')))]
    if kind == "vote":
        fields += [("vote_id", _quoted(_uuid(random))), ("option_id", random.choice(('"ada"', '"bo"', '"7"')))]
        fields += [
            ("voter_id", random.choice(('"ann"', '"Bob_-"', '"42"'))),
            ("cast_at", str(OPENED_AT + random.randrange(5000))),
        ]
        fields += [("edge_id", '"edge-1"'), ("channel", '"app"')]
    elif kind == "poll.opened":
        fields += [("opened_at", str(OPENED_AT)), ("options", _options(random))]
        fields += random.choice(([], [], [("votes_per_voter", "3")], [("window_ms", "1000")]))
        fields += random.choice(([], [], [("dedupe_horizon_ms", "null")], [("dedupe_horizon_ms", "10000")]))
    elif kind == "poll.closed":
        fields += [("closed_at", str(OPENED_AT + 60_000))]
    elif kind in DECISIONS:
        fields += [("void_id", random.choice(('"v1"', '"v2"'))), ("reason", '"why: 1.5"'), ("author", '"Ada"')]
        fields += _conditions(random) if kind == "votes.voided" else []
    random.shuffle(fields)
    return fields


def _conditions(random: Random) -> list[Field]:
    ids, voters = ('["edge-1"]', '["app","web"]', '["a","b"]'), ('["ann"]', '["ann","42"]', '["Bob_-","x","x"]')
    known = [
        *(("edge_ids", random.choice(ids)), ("channels", random.choice(ids)), ("voter_ids", random.choice(voters))),
        *(("voters_from", random.choice(('"B"', '"a"'))), ("voters_to", random.choice(('"b"', '"ann"')))),
        *(("cast_from", str(OPENED_AT + 2_000)), ("cast_before", str(OPENED_AT + 2_000))),
    ]
    return random.sample(known, random.choice((1, 1, 1, 2, 3)))


def _options(random: Random) -> str:
    options = []
    for number in range(random.choice((1, 2, 2, 3, 3, 100))):
        fields = [("id", f'"o{number}"')]
        fields += random.choice(([], [], [("label", '"Ada"')], [("label", "null")]))
        fields += random.choice(([], [], [("color", '"#ff5a36"')], [("color", "null")]))
        options.append(_object(random, _changed(random, fields) if random.random() < 0.1 else fields))
    die = random.random()
    if die < 0.05:
        options.append(random.choice(options))
    elif die < 0.1:
        options.insert(random.randrange(len(options) + 1), throw_json(random))
    elif die < 0.13:
        return random.choice(
            ('"a"', "{}", "[]", "null", "1", '"[{\\"id\\":\\"a\\"}]"', f"[{options[0]},]", f'{{"a":{options[0]}}}')
        )
    elif die < 0.15:
        options = [f'{{"id":"o{number}"}}' for number in range(random.choice((100, 101)))]
    return f"[{random.choice(SPACES[:8])}{','.join(options)}]"


def _changed(random: Random, fields: list[Field]) -> list[Field]:
    """Drop, replace, repeat or add some fields."""
    fields = list(fields)
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3))):
        place = random.randrange(len(fields)) if fields else 0
        match random.choice(("drop", "replace", "replace", "repeat", "repeat", "add", "add", "case", "escape")):
            case "drop" if fields:
                del fields[place]
            case "replace" if fields:
                fields[place] = fields[place][0], throw_json(random)
            case "repeat" if fields:  # the last one holds, whichever is the good one
                again = fields[place][0], throw_json(random)
                fields.insert(random.choice((0, place, len(fields))), again)
            case "case" if fields:
                fields[place] = fields[place][0].upper(), fields[place][1]
            case "escape" if fields:
                name = fields[place][0]
                fields.append(
                    (
                        f"\\u{ord(name[0]):04x}{name[1:]}" if name else "",
                        random.choice((fields[place][1], throw_json(random))),
                    )
                )
            case _:
                fields.insert(
                    place, (random.choice(("note", "", "label", "id", "cast_at", "type", *TEXTS)), throw_json(random))
                )
    return fields


def throw_json(random: Random, depth: int = 2) -> str:
    """Make a JSON value, or something like one."""
    die = random.randrange(12 if depth else 9)
    if die < 4:
        return random.choice(NUMBERS)
    if die < 7:
        return _quoted(random.choice(TEXTS))
    if die == 7:
        return _quoted(random.choice(UUIDS))
    if die == 8:
        return random.choice(("null", "true", "false", "True", "nul", ""))
    if die == 9:
        return f"[{','.join(throw_json(random, depth - 1) for _ in range(random.randrange(4)))}]"
    fields = [
        (random.choice(("id", "a", "type", *TEXTS)), throw_json(random, depth - 1)) for _ in range(random.randrange(4))
    ]
    return _object(random, fields)


def _written(random: Random, fields: list[Field]) -> bytes:
    return _object(random, fields).encode("utf-8", "surrogatepass")


def _object(random: Random, fields: list[Field]) -> str:
    spaces = SPACES if random.random() < 0.1 else SPACES[:1]
    space = random.choice(spaces)
    inner = f",{space}".join(
        f"{_quoted(name)}{random.choice(spaces)}:{random.choice(spaces)}{value}" for name, value in fields
    )
    return f"{{{random.choice(spaces)}{inner}{space}}}{random.choice(spaces)}"


def _bent(random: Random, value: bytes) -> bytes:
    """Damage bytes, without regard to JSON."""
    place, deep = random.randrange(len(value) + 1), random.choice((400, 510, 511, 512))
    longest = random.choice((131_072, 131_073))
    before = random.choice((b" ", b"\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"[", b"\x0c"))
    behind = random.choice((b" ", b"\n", b"\x00", b"}", b"x", b",", b"\xef\xbb\xbf", value, b"\x0c"))
    return random.choice(
        (
            value[:place],
            value[:place] + random.choice(BYTES) + value[place:],
            value[:place] + random.choice(BYTES) + value[place + 1 :],
            before + value,
            value + behind,
            value[:-1] + b',"deep":' + b"[" * deep + b"]" * deep + b"}",
            value[:-1] + b',"long":"' + b"x" * (longest - len(value) - 10) + b'"}',
        )
    )


def _quoted(text: str) -> str:
    return f'"{text}"'


def _uuid(random: Random) -> str:
    if random.random() < 0.1:
        return random.choice(UUIDS)
    digits = "".join(random.choices(hexdigits, k=32))
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
