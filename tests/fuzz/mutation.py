"""Mutations of records, from a seed: of JSON token by token, and of bytes without regard to JSON."""

import re
from random import Random

from tests.archive.odd_texts import BYTES, NUMBERS, SPACES, TEXTS, UUIDS

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|\s+|.', re.DOTALL)
_ODD = [
    *(text.encode("utf-8", "surrogatepass") for text in (*NUMBERS, *SPACES)),
    *(f'"{text}"'.encode("utf-8", "surrogatepass") for text in (*TEXTS, *UUIDS)),
    *(b"null", b"true", b"{", b"}", b"[", b"]", b"{}", b"[]", b",", b":", b'"', b'""'),
]


def mutated(random: Random, value: bytes, others: list[bytes]) -> bytes:
    """Change a value in one to four places. Some of it comes from `others`."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        value = (
            _tokens_changed(random, value, others) if random.random() < 0.6 else _bytes_changed(random, value, others)
        )
    return value


def _tokens_changed(random: Random, value: bytes, others: list[bytes]) -> bytes:
    tokens = _TOKENS.findall(value) or [b""]
    place, other = random.randrange(len(tokens)), random.randrange(len(tokens))
    low, high = sorted((place, other))
    match random.randrange(7):
        case 0:
            del tokens[place]
        case 1:
            tokens[place] = random.choice(_ODD)
        case 2:
            tokens.insert(place, random.choice(_ODD))
        case 3:
            tokens[place], tokens[other] = tokens[other], tokens[place]
        case 4:
            tokens[place] = tokens[other]
        case 5:
            tokens[high:high] = tokens[low : low + random.randint(1, 6)]
        case _:
            tokens[place] = random.choice(_TOKENS.findall(random.choice(others)) or [b""])
    return b"".join(tokens)


def _bytes_changed(random: Random, value: bytes, others: list[bytes]) -> bytes:
    place = random.randint(0, len(value))
    end = min(len(value), place + random.choice((1, 1, 2, 8)))
    match random.randrange(7):
        case 0:
            return value[:place] + bytes([random.randrange(256)]) + value[place + 1 :]
        case 1:
            flipped = bytes([value[place] ^ 1 << random.randrange(8)]) if place < len(value) else b""
            return value[:place] + flipped + value[place + 1 :]
        case 2:
            return value[:place] + value[end:]
        case 3:
            return value[:end] + value[place:]
        case 4:
            return value[:place] + random.choice(BYTES) + value[place:]
        case 5:
            return value[:place]
        case _:
            other = random.choice(others)
            return value[:place] + other[random.randint(0, len(other)) :]
