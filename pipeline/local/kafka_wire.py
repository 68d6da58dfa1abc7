"""Whether a Kafka broker serves, asked in Kafka's own protocol over a bare socket.

Clients log each failed attempt as an error; while a broker starts, failed attempts are the normal case. So the three
questions are asked here by hand: metadata, "who coordinates this group", and "what has it committed". Only when
the last one is answered can a consumer group start: until then a coordinator says that it is loading.

Request and response layouts: https://kafka.apache.org/protocol (non-flexible versions, which Kafka 4 still serves).
"""

import socket
import struct

from pipeline.errors import UnavailableError

_TIMEOUT_S = 5.0
_METADATA, _FIND_COORDINATOR, _OFFSET_FETCH = 3, 10, 9
_GROUP = b"airtally-readiness"
_MAX_RESPONSE = 1 << 20


def answers(bootstrap: str) -> None:
    """Ask the first bootstrap server, "host:port[,host:port...]", for metadata and a group's offsets.

    Raises:
        UnavailableError: the broker, or the coordinator of a group, does not serve yet.
    """
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        _require_brokers(_ask((host, int(port)), _METADATA, 1, struct.pack(">i", 0)))
        coordinator = _coordinator(_ask((host, int(port)), _FIND_COORDINATOR, 1, _string(_GROUP) + b"\0"))
        _require_offsets(_ask(coordinator, _OFFSET_FETCH, 2, _string(_GROUP) + struct.pack(">i", -1)))
    except (OSError, ValueError, struct.error) as error:
        raise UnavailableError(f"Kafka at {bootstrap} does not answer: {error}") from error


def listens(bootstrap: str) -> None:
    """Connect to any of the bootstrap servers, of a Kafka that may want TLS and passwords: that is all that is asked.

    Raises:
        UnavailableError: none of them takes a connection.
    """
    why = ""
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            why = str(error)
        else:
            return
    raise UnavailableError(f"Kafka at {bootstrap} does not answer: {why}")


def _ask(address: tuple[str, int], api: int, version: int, body: bytes) -> bytes:
    """One request on a connection of its own; the response's body."""
    request = struct.pack(">hhi", api, version, 1) + _string(b"airtally") + body
    with socket.create_connection(address, _TIMEOUT_S) as connection:
        connection.settimeout(_TIMEOUT_S)
        connection.sendall(struct.pack(">i", len(request)) + request)
        (length,) = struct.unpack(">i", _read(connection, 4))
        if not 4 <= length <= _MAX_RESPONSE:
            raise ValueError(f"this is no Kafka broker: it announces {length} bytes")
        return _read(connection, length)[4:]  # without the correlation id


def _read(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        piece = connection.recv(length - len(received))
        if not piece:
            raise ConnectionError("the connection was closed")
        received += piece
    return bytes(received)


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _require_brokers(metadata: bytes) -> None:
    (brokers,) = struct.unpack_from(">i", metadata)
    if brokers < 1:
        raise ValueError("no broker has registered yet")


def _coordinator(found: bytes) -> tuple[str, int]:
    """FindCoordinator v1: throttle time, error code, error message, node id, host, port."""
    _, error, message = struct.unpack_from(">ihh", found)
    if error:
        raise ValueError(f"no group coordinator yet (error {error})")
    at = 8 + max(0, message) + 4
    (length,) = struct.unpack_from(">h", found, at)
    host = found[at + 2 : at + 2 + length].decode()
    (port,) = struct.unpack_from(">i", found, at + 2 + length)
    return host, port


def _require_offsets(fetched: bytes) -> None:
    """OffsetFetch v2 for a group without offsets: an empty array of topics, then the error code."""
    topics, error = struct.unpack_from(">ih", fetched)
    if topics == 0 and error:
        raise ValueError(f"the group coordinator is loading (error {error})")
