"""Sockets that thousands connect to, and room for them."""

import resource
import socket

from pipeline.descriptors import SPARE, allow_descriptors
from pipeline.errors import PortInUseError, SettingError

BACKLOG = 4096  # all clients connect again at the same moment after a restart
UNTAKEN_S = 60


def listen(
    host: str, port: int, setting: str, *, send_buffer_bytes: int | None = None, shared: bool = False
) -> socket.socket:
    """Open a listening socket; `shared`: others may listen on the same port, and the kernel spreads the connections.

    A shared one does not listen before an ``Acceptor`` has it, or connections would come that nobody takes.

    Raises:
        PortInUseError: somebody else listens there; the text names the setting that says where to listen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = (
            _bound(family, host, port) if shared else socket.create_server((host, port), family=family, backlog=BACKLOG)
        )
    except OSError as error:
        raise PortInUseError(
            f"{host}:{port} cannot be listened on ({error.strerror}): set {setting} to a free port, or to 0"
        ) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # a client that takes nothing is let go of, with what was written for it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNTAKEN_S)
    if send_buffer_bytes is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)  # accepted ones inherit it
    return listening


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            made.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except BaseException:
        made.close()
        raise
    return made


def need_connections(clients: int) -> int:
    """Make room for clients' connections as far as the system lets us, for a service, which is nothing without any.

    Returns how many there is room for.

    Raises:
        SettingError: there is room for none.
    """
    room = allow_descriptors(clients)
    if not room:
        raise SettingError(
            f"this process may open {resource.getrlimit(resource.RLIMIT_NOFILE)[1]} files, and needs {SPARE} beside its "
            "clients' connections: raise the limit (`ulimit -Hn`, systemd's LimitNOFILE) by as many as there are clients"
        )
    return room
