"""Odd forms of a vote's bytes: those that are as good as any, and those that are malformed.

Each is a function of the bytes of a plain vote as ``ballots`` writes it.
"""

import re
from collections.abc import Callable, Mapping

OVERSIZED_BYTES = (
    1_000_000  # fits a broker's default limit (1,048,588 with the record's own bytes), far beyond a vote's
)
_PADDING = b"x" * OVERSIZED_BYTES

_vote_id = re.compile(rb'(?<="vote_id":")[^"]*')
_show_id = re.compile(rb'(?<="show_id":")[^"]*')
_option_id = re.compile(rb'(?<="option_id":)"[^"]*"')
_voter_id = re.compile(rb'(?<="voter_id":")[^"]*')
_channel = re.compile(rb'(?<="channel":")[^"]*')
_cast_at = re.compile(rb'(?<="cast_at":)\d+')


def _uppercase_id(value: bytes) -> bytes:
    return _vote_id.sub(lambda found: found[0].upper(), value)


def _chosen_twice(value: bytes) -> bytes:
    return b'{"option_id":"changed-my-mind",' + value[1:]


def _reversed(value: bytes) -> bytes:
    return b"{" + b",".join(value[1:-1].split(b",")[::-1]) + b"}"


UNUSUAL: Mapping[str, Callable[[bytes], bytes]] = {
    "further fields": lambda value: value[:-1] + b',"app":{"version":"4.2.0","tests":["a",null,1.5e3]}}',
    "blanks": lambda value: b" \n" + value.replace(b",", b" ,\r\n\t") + b"\n",
    "fields in reverse order": _reversed,
    "escaped letters": lambda value: value.replace(b'"type":"vote"', rb'"\u0074ype":"v\u006fte"'),
    "escapes in an id": lambda value: _channel.sub(rb"\\u0061pp", value),
    "vote_id in capitals": _uppercase_id,
    "a key twice, the last one good": _chosen_twice,
    "text beyond the basic plane": lambda value: value[:-1] + ',"mood":"\U0001f389 \\ud83c\\udf89"}'.encode(),
}

MALFORMED: Mapping[str, Callable[[bytes], bytes | None]] = {
    "tombstone": lambda _: None,
    "empty": lambda _: b"",
    "no JSON": lambda _: b"A vote for Ada!",
    "cut short": lambda value: value[:-1],
    "two values": lambda value: value + value,
    "trailing comma": lambda value: value[:-1] + b",}",
    "not UTF-8": lambda value: _channel.sub(b"caf\xe9", value),
    "byte order mark": lambda value: b"\xef\xbb\xbf" + value,
    "lone surrogate": lambda value: value[:-1] + rb',"mood":"\ud83c"}',
    "number beyond a double": lambda value: value[:-1] + b',"mood":1e999}',
    "nested too deeply": lambda value: value[:-1] + b',"mood":' + b"[" * 600 + b"]" * 600 + b"}",
    "an array": lambda value: b"[" + value + b"]",
    "null": lambda _: b"null",
    "unknown type": lambda value: value.replace(b'"type":"vote"', b'"type":"note"'),
    "no type": lambda value: value.replace(b'"type":"vote",', b""),
    "type of a wrong type": lambda value: value.replace(b'"type":"vote"', b'"type":1'),
    "no option": lambda value: _option_id.sub(b"null", value),
    "no cast_at": lambda value: _cast_at.sub(b"null", value),
    "no channel": lambda value: value.replace(b'"channel"', b'"chanel"'),
    "cast_at as text": lambda value: _cast_at.sub(rb'"\g<0>"', value),
    "cast_at with a fraction": lambda value: _cast_at.sub(rb"\g<0>.5", value),
    "cast_at with an exponent": lambda value: _cast_at.sub(rb"\g<0>e0", value),
    "cast_at negative": lambda value: _cast_at.sub(rb"-\g<0>", value),
    "cast_at of 54 bits": lambda value: _cast_at.sub(b"9007199254740992", value),
    "cast_at of 65 bits": lambda value: _cast_at.sub(b"18446744073709551616", value),
    "vote_id no UUID": lambda value: _vote_id.sub(b"1", value),
    "vote_id with a line feed": lambda value: _vote_id.sub(rb"\g<0>\\n", value),
    "show_id in capitals": lambda value: _show_id.sub(b"GRAND-FINAL", value),
    "option_id empty": lambda value: _option_id.sub(b'""', value),
    "option_id a list": lambda value: _option_id.sub(rb"[\g<0>]", value),
    "voter_id with a blank": lambda value: _voter_id.sub(b"ada lovelace", value),
    "voter_id too long": lambda value: _voter_id.sub(b"v" * 65, value),
    "a key twice, the last one bad": lambda value: value[:-1] + b',"option_id":null}',
    # Not poll.final: that one needs no field but the poll's, so a vote's bytes with this type would end the show.
    "opening without options": lambda value: value.replace(b'"type":"vote"', b'"type":"poll.opened"'),
    "closing without an instant": lambda value: value.replace(
        b'"type":"vote"', b'"type":"poll.closed","closed_at":"soon"'
    ),
}


def oversized(value: bytes) -> bytes:
    """Make a vote 1 MB long by a further field: malformed for its length alone."""
    head = value[:-1] + b',"selfie":"'
    return head + _PADDING[: OVERSIZED_BYTES - len(head) - 2] + b'"}'
