"""The client of the control API meets runners that do not answer as they should."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol

from hapi.runner.control.client import ControlClient, ControlFailed
from hapi.runner.control.listeners import listen_unix


class HangsUp(Protocol):
    def connectionMade(self):
        self.transport.abortConnection()


class Silent(Protocol):
    pass


@pytest.mark.parametrize(
    ("manners", "told"),
    [
        (HangsUp, "connection to the runner ended before its answer"),
        (Silent, "no answer to /stop within"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_runner_that_hangs_up_or_says_nothing_is_told_in_words(
    reactor, home, manners, told
):
    port = listen_unix(reactor, home.runner_socket, Factory.forProtocol(manners))
    try:
        with pytest.raises(ControlFailed, match=told):
            await ControlClient(reactor, home, {"HAPI_RUNNER_HTTP_TIMEOUT": "200"}).stop()
    finally:
        await port.stopListening()
