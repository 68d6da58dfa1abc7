import os
import socket

import pytest

from pipeline.errors import PortInUseError
from pipeline.local.ports import free_port, is_free, require_free


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert is_free(port)
    assert require_free(port, "Redis") == port


def test_a_port_in_use_is_refused_with_holder_and_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortInUseError) as caught:
            require_free(port, "Redis")
    text = str(caught.value)
    assert f"Redis wants port {port}" in text
    assert f"(pid {os.getpid()})" in text
    assert "choose another port" in text
