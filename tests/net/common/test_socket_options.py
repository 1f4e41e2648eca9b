"""A WebSocket has the options of its factory, without a message about each of them."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.websocket import protocol as autobahn_protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from hapi.net.common.websocket import OPTIONS, ClientSocketFactory, ServerSocketFactory


class Silent:
    """A handler to which nothing happens."""

    def closed(self, *_: Any) -> None: ...


def server() -> Any:
    return ServerSocketFactory(Clock(), lambda socket: Silent())


def client() -> Any:
    return ClientSocketFactory(Clock(), "ws://127.0.0.1:1/", {}, lambda socket: Silent())


@pytest.mark.parametrize("make", [server, client])
def test_a_socket_has_every_option_of_its_factory(make: Any) -> None:
    factory = make()
    socket = factory.buildProtocol(None)
    assert {name: getattr(socket, name) for name in OPTIONS} == dict(OPTIONS)
    for name in socket.option_names:
        assert getattr(socket, name) == getattr(factory, name)


@pytest.mark.parametrize("make", [server, client])
def test_a_new_connection_formats_no_list_of_its_options(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    formatted: list[str] = []
    monkeypatch.setattr(
        autobahn_protocol, "pformat", lambda value: formatted.append(str(value)) or ""
    )
    socket = make().buildProtocol(None)
    socket.makeConnection(StringTransport())
    assert "maxFramePayloadSize" not in "".join(formatted)
