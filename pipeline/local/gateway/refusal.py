"""Exceptions as ClickHouse's HTTP interface shows them: a code, a text, a status."""

import re

# src/Common/ErrorCodes.cpp and src/Server/HTTP/exceptionCodeToHTTPStatus.cpp of ClickHouse
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
INVALID_SETTING_NAME = 115
TOO_LARGE = 229  # QUERY_IS_TOO_LARGE
NOT_ENOUGH_SPACE = 243

_BAD_REQUEST = (
    *(6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117),
    *(123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
)
_STATUS_OF_CODE = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    194: 401,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    159: 408,
    381: 411,
    229: 413,
    779: 415,
    NOT_IMPLEMENTED: 501,
    **dict.fromkeys((76, 209, 439), 503),
}
_DEFAULT_STATUS = 500
_UNKNOWN_CODE = 1002
# The embedded engine repeats the prefix when one of its layers passes another's exception on.
_CODE = re.compile(r"Code: (\d+)\. DB::Exception: (?:Code: \d+\. DB::Exception: )*(.*)", re.DOTALL)


class RefusalError(Exception):
    """A request that ends with an exception; ``code`` is ClickHouse's number for it."""

    def __init__(self, code: int, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status or _STATUS_OF_CODE.get(code, _DEFAULT_STATUS)

    @property
    def body(self) -> bytes:
        """The answer's body, as the real server words it."""
        return f"Code: {self.code}. DB::Exception: {self.text}\n".encode()


def from_engine(message: str) -> RefusalError:
    """Read an exception out of what the engine says."""
    found = _CODE.search(message)
    if found is None:
        return RefusalError(_UNKNOWN_CODE, message.strip())
    return RefusalError(int(found.group(1)), found.group(2).strip())


def not_done(what: str) -> RefusalError:
    """Something of ClickHouse's HTTP interface that this gateway lacks."""
    text = f"Airtally's local ClickHouse gateway does not do {what}. A real ClickHouse server does. (NOT_IMPLEMENTED)"
    return RefusalError(NOT_IMPLEMENTED, text)
