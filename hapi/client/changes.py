"""What happens in a session, as a reason to look at it again."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.client.api import ApiClient
from hapi.client.entities import Event
from hapi.client.errors import HubError
from hapi.client.events import EventStream
from hapi.deferreds import run_in_background
from hapi.net.common.errors import HubUnreachable
from hapi.one_shot import OneShotObserver

RECONNECT_DELAY = 2.0  # seconds


@define(eq=False, repr=False)
class Changes:
    """Follows the events of a session. What they say is not passed on, only that there were some:
    whoever waits reads the session itself then, so that a lost connection loses nothing.
    """

    _client: ApiClient
    _session_id: str
    _matters: Callable[[Event], bool]
    _stream: EventStream | None = None
    _changed: OneShotObserver[None] = field(factory=OneShotObserver)
    _is_closed: bool = False
    log = Logger()

    def start(self) -> None:
        run_in_background(self._follow(), self.log, "The events of a session cannot be followed")

    def close(self) -> None:
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()

    async def wait(self, seconds: float) -> None:
        """Return when something has happened since the last call, after `seconds` at the latest."""
        changed = self._changed
        timer = self._client.clock.callLater(seconds, self._notify)
        try:
            await changed.when_fired()
        finally:
            if timer.active():
                timer.cancel()
        if self._changed is changed:
            self._changed = OneShotObserver()
        await deferLater(self._client.clock, 0)  # whoever waits may close what is just reading

    async def _follow(self) -> None:
        while not self._is_closed:
            self._stream = stream = self._client.events(self._session_id)
            try:
                async for event in stream:
                    if self._matters(event):
                        self._notify()
            except CancelledError:
                raise
            except (HubUnreachable, HubError):
                pass  # whoever waits meets the same, and knows what to do
            finally:
                stream.close()
            if not self._is_closed:
                await deferLater(self._client.clock, RECONNECT_DELAY)

    def _notify(self) -> None:
        self._changed.fire(None)
