"""As much of ClickHouse's grammar as a server must know before it gives a statement to the engine. Pure.

Where an INSERT ends and its data begin, which format a result will have, and which statements a gateway without
sessions must refuse. Statements are bytes: the data behind an INSERT are of any kind.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.local.gateway.refusal import SYNTAX_ERROR, RefusalError, not_done

_TOKEN = re.compile(
    rb"""
      (?P<space>\s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*")
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = b"([{", b")]}"
_RESULTS = frozenset({b"SELECT", b"WITH", b"SHOW", b"DESC", b"DESCRIBE", b"EXPLAIN", b"EXISTS", b"CHECK", b"("})
_SELECTS = frozenset({b"SELECT", b"WITH", b"("})
_NEEDS_SESSION = frozenset({b"SET", b"USE", b"BEGIN", b"COMMIT", b"ROLLBACK"})


@dataclass(frozen=True)
class _Token:
    text: bytes  # in capitals if it is a word
    start: int
    end: int
    is_word: bool


@dataclass(frozen=True)
class Insert:
    """``INSERT INTO ... [SETTINGS ...] FORMAT name`` in front of data that start at ``data_at``."""

    into: str  # table and columns
    settings: str  # the SETTINGS clause, or nothing
    format: str
    data_at: int

    def of_file(self, path: str) -> str:
        """Give the statement that inserts the same data from a file."""
        escaped = path.replace("\\", "\\\\").replace("'", "\\'")
        # Lines of their own: a comment may be the last thing in what was given.
        return f"{self.into}\nFROM INFILE '{escaped}' COMPRESSION 'none'\n{self.settings}\nFORMAT {self.format}"


@dataclass(frozen=True)
class Statement:
    """A statement without data behind it. ``format`` is its own FORMAT clause, ``streams`` whether it is a SELECT."""

    text: str
    has_result: bool
    streams: bool
    format: str | None


def insert_with_data(head: bytes) -> Insert | None:
    """Split an INSERT that has data behind it; None for every other statement.

    Where data begin is src/Parsers/ParserInsertQuery.cpp: after the format's name, blanks and one line break.
    """
    tokens = _top_level(head)
    first = next(tokens, None)
    if first is None or first.text != b"INSERT":
        return None
    settings_at = None
    for token in tokens:
        if token.text in {b"VALUES", b"SELECT", b"WITH", b"FROM"}:
            return None
        if token.text == b"SETTINGS":
            settings_at = token.start
        if token.text == b"FORMAT":
            name = next(tokens, None)
            if name is None or not name.is_word:
                return None
            into, settings = head[: settings_at or token.start], head[settings_at or token.start : token.start]
            return Insert(
                into.decode(errors="replace").rstrip(),
                settings.decode(errors="replace").rstrip(),
                head[name.start : name.end].decode(),
                _data_at(head, name.end),
            )
    return None


def _data_at(head: bytes, at: int) -> int:
    while head[at : at + 1] in {b" ", b"\t", b"\f"}:
        at += 1
    if head[at : at + 8].upper() == b"SETTINGS":
        raise not_done("SETTINGS between FORMAT and the data of an INSERT: write them in front of FORMAT")
    if head[at : at + 1] == b"\r":
        at += 1
    return at + 1 if head[at : at + 1] == b"\n" else at


def plain(sql: bytes) -> Statement:
    """Look at a statement that is wholly in ``sql``.

    Raises:
        RefusalError: it is empty, or several, or needs what the gateway does not have.
    """
    try:
        text = sql.decode()
    except UnicodeDecodeError as error:
        raise RefusalError(SYNTAX_ERROR, f"Syntax error: the query is not UTF-8: {error}. (SYNTAX_ERROR)") from None
    tokens = _top_level(sql)
    first = next(tokens, None)
    if first is None:
        raise RefusalError(SYNTAX_ERROR, "Syntax error: Empty query. (SYNTAX_ERROR)")
    if first.text in _NEEDS_SESSION:
        raise not_done(f"{first.text.decode()}: it has no sessions. Give settings and the database with each request")
    if first.text not in _RESULTS:
        _refuse_what_touches_the_host(first, tokens)
        return Statement(text, has_result=False, streams=False, format=None)
    rest = list(tokens)
    _refuse_several(rest)
    _refuse_pair(rest, b"INTO", b"OUTFILE")
    found = _format(rest, sql)
    return Statement(text, has_result=True, streams=first.text in _SELECTS, format=found)


def _top_level(sql: bytes) -> Iterator[_Token]:
    """Words and punctuation outside of brackets; a quoted name or string is one token. Lazy: data may follow."""
    depth = 0
    for found in _TOKEN.finditer(sql):
        kind, text = found.lastgroup, found.group()
        if kind == "space":
            continue
        if text in _OPENING:
            depth += 1
        if depth == 0 or (depth == 1 and text in _OPENING):
            word = kind == "word"
            yield _Token(text.upper() if word else text, found.start(), found.end(), is_word=word)
        if text in _CLOSING:
            depth -= 1


def _format(tokens: list[_Token], sql: bytes) -> str | None:
    """The FORMAT clause at the end; a column may be called "format", so what follows decides."""
    for at in range(len(tokens) - 2, -1, -1):
        if tokens[at].text != b"FORMAT" or not tokens[at + 1].is_word:
            continue
        behind = tokens[at + 2].text if at + 2 < len(tokens) else b";"
        if behind in {b";", b"SETTINGS"}:
            return sql[tokens[at + 1].start : tokens[at + 1].end].decode()
    return None


def _refuse_several(tokens: list[_Token]) -> None:
    for at, token in enumerate(tokens[:-1]):
        if token.text == b";" and tokens[at + 1].text != b";":
            raise RefusalError(SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed. (SYNTAX_ERROR)")


def _refuse_pair(tokens: list[_Token], one: bytes, other: bytes) -> None:
    for at, token in enumerate(tokens[:-1]):
        if token.text == one and tokens[at + 1].text == other:
            raise not_done(f"{one.decode()} {other.decode()}: it reads and writes no files of its host")


def _refuse_what_touches_the_host(first: _Token, tokens: Iterator[_Token]) -> None:
    """Only as far as VALUES: the rows behind it may be long."""
    head: list[_Token] = []
    for token in tokens:
        if first.text == b"INSERT" and token.text == b"VALUES":
            break
        head.append(token)
    else:
        _refuse_several(head)
    _refuse_pair(head, b"FROM", b"INFILE")
    if first.text == b"CREATE" and head and head[0].text in {b"TEMPORARY", b"TEMP"}:
        raise not_done("temporary tables: it has no sessions")
