"""What the agent offers, at the hub (`metadata.offer`) and on this machine, kept current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.home import Home
from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.acp.updates import Commands, ModeChanged, OptionsChanged, Update
from hapi.protocol.agents import Agent
from hapi.protocol.records import mode_event
from hapi.remembered_offers import remember_offer
from hapi.session.agent.configuration import SessionSettings

Json = dict[str, Any]


@define(eq=False, repr=False)
class OfferPublisher:
    """Watches the agent's updates. `publish_event` adds an event to the conversation."""

    _agent: Agent
    _settings: SessionSettings
    _metadata: VersionedDocument
    _publish_event: Callable[[Json], object]
    _home: Home
    _environ: Mapping[str, str] = field(repr=False)
    _commands: tuple[tuple[str, str | None], ...] = ()
    _is_open: bool = False  # the agent's session is open, and its offer is complete
    log = Logger()

    def observe(self, update: Update) -> None:
        """An update of the agent."""
        match update:
            case Commands(commands):
                self._commands = commands
                self.publish()
            case ModeChanged() | OptionsChanged():
                mode = self._settings.mode
                if self._settings.agent_changed() and self._settings.mode != mode:
                    self._publish_event(mode_event(self._settings.mode or ""))

    def opened(self) -> None:
        """The agent's session is open, and what was asked for at its start is set."""
        self._is_open = True
        self.publish()

    def publish(self) -> None:
        """Store the offer at the hub if it is another one, and remember it on this machine."""
        if not self._is_open:
            return
        offer = self._settings.metadata(self._commands)
        if (self._metadata.value or {}).get("offer") != offer:
            self._stored(
                self._metadata.change(lambda stored: {**(stored or {}), "offer": offer}),
            )
        try:
            remember_offer(self._home, self._agent, self._environ, offer)
        except OSError as problem:
            self.log.warn(
                "What {label} offers was not kept for the next start: {reason}",
                label=self._agent.label,
                reason=problem.strerror or str(problem),
            )

    def _stored(self, stored: Deferred[Any]) -> None:
        stored.addErrback(
            lambda failure: self.log.warn(
                "What the agent offers is not stored at the hub: {reason}",
                reason=failure.getErrorMessage(),
            )
        )
