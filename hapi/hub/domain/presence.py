"""Presence of sessions and machines: their alives and ends, the settings they report, and the sweep
that detects silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.hub.domain.entities import (
    MACHINE_TIMEOUT,
    REBROADCAST_INTERVAL,
    SESSION_TIMEOUT,
    START_TIMEOUT,
    HubMachine,
    HubSession,
    admissible,
    checked_health,
)
from hapi.hub.domain.errors import Unavailable
from hapi.hub.domain.messages import Messages
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import SETTING_COLUMNS, alive_view, machine_view
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.rows import Written
from hapi.hub.store.shared import Moved
from hapi.metrics import LONG_TIMES, Histogram
from hapi.protocol import events as protocol_events

SWEEP_INTERVAL = 5.0  # seconds
ENDED = {"active": False, "thinking": False, "activeTurnStartedAt": None, "backgroundTaskCount": 0}


def reported_settings(event: dict[str, Any]) -> dict[str, Any]:
    """Columns and values of the settings in an alive; values of a wrong type are left out."""
    found = {}
    for name, column in SETTING_COLUMNS.items():
        if name in event:
            value = event[name]
            provided = name == "model" and isinstance(value, dict)
            if (
                provided
                or (isinstance(value, str) and len(value) <= 256 and value.isprintable())
                or value is None
            ):
                found[column] = value
    return found


HANDED_OFF = "handoff"  # why a process ends whose session goes on in a terminal


@define(eq=False, repr=False)
class Presence:
    registry: HubRegistry
    messages: Messages
    turn_seconds: Histogram = field(factory=lambda: Histogram(LONG_TIMES))  # of turns that ended
    # called with a session whose process has ended, or fell silent in the middle of a turn
    on_ended: list[Callable[[HubSession], None]] = field(factory=list)

    log = Logger()

    # --- sessions ---------------------------------------------------------------------------------

    async def session_alive(self, session: HubSession, event: dict[str, Any]) -> None:
        registry = self.registry
        time = admissible(event.get("time"), registry.now())
        if time is None or registry.has_moved(session.id):
            return
        await registry.serialized(session, lambda: self._alive(session, event, time))

    async def _alive(self, session: HubSession, event: dict[str, Any], time: int) -> None:
        registry, now = self.registry, self.registry.clock.seconds()
        reported = event.get("thinking") is True
        if reported:
            session.grace_until = 0.0
        thinking = session.is_thinking(reported, now)
        is_behind = not session.is_caught_up
        if is_behind:  # before anything is awaited: prompts that arrive meanwhile are later ones
            await self.messages.redeliver(session)
        settings = {
            column: value
            for column, value in reported_settings(event).items()
            if value != getattr(session.row, column) and not session.is_outdated(column, time, now)
        }
        changed = not session.active or thinking != session.thinking or bool(settings)
        if settings:
            await self._adopt(session, settings)
        if thinking != session.thinking:
            if session.active and not thinking:
                began_at = session.turn_started_at or session.thinking_at
                self.turn_seconds.observe(max(time - began_at, 0) / 1000)
            session.thinking_at = time
            if not thinking:
                session.turn_started_at = None
        if not session.active:
            session.ready, session.has_queue, session.thinking_at = False, True, time
            session.registers_until = now + START_TIMEOUT
        session.active, session.thinking, session.last_seen = True, thinking, now
        session.active_at = min(max(session.active_at, time), registry.now())
        if changed or now - session.last_broadcast >= REBROADCAST_INTERVAL:
            session.last_broadcast = now
            registry.publish_patch(session, **alive_view(session))
        if session.has_queue and not is_behind:
            await self.messages.redeliver(session)

    async def _adopt(self, session: HubSession, settings: dict[str, Any]) -> None:
        """Store settings that the session reports; a new permission mode also becomes its preferred
        one.
        """
        registry = self.registry
        mode = settings.get("permission_mode")
        if mode is not None and session.metadata.get("preferredPermissionMode") != mode:
            value = {**session.metadata, "preferredPermissionMode": mode}
            outcome = await registry.store.write_metadata(
                session.id, session.row.metadata_version, value, settings
            )
            session.row = outcome.row
            if isinstance(outcome, Written):
                return
        session.row = await registry.store.change_session(session.id, settings)

    async def session_ready(self, session: HubSession, event: dict[str, Any]) -> None:
        is_late = self.registry.has_moved(session.id)
        if admissible(event.get("time"), self.registry.now()) is not None and not is_late:
            session.ready = True

    async def session_end(
        self, session: HubSession, event: dict[str, Any], by_machine: bool = False
    ) -> None:
        """`by_machine`: its runner reports that the process is dead. Prompts not yet taken then
        wait for the process that continues the session, as they do after a hand-off.
        """
        if not by_machine:
            await self.end_here(session, event)
            return
        given = {"session": session.id, "event": event}
        try:
            await self.registry.at_home(
                session.id, "end-session", given, lambda: self.end_here(session, event, True)
            )
        except Unavailable as error:  # until another hub serves the session
            raise StoreBusy(str(error)) from error

    async def end_here(
        self, session: HubSession, event: dict[str, Any], by_machine: bool = False
    ) -> None:
        """`session_end` at the hub that serves the session."""
        reason, time = event.get("reason"), admissible(event.get("time"), self.registry.now())
        if time is not None:
            shown = reason if isinstance(reason, str) and len(reason) <= 64 else None
            was_active = session.active
            keeps = by_machine or shown == HANDED_OFF
            await self.registry.serialized(
                session, lambda: self.end(session, shown, keeps_prompts=keeps)
            )
            if was_active:
                self.registry.notify(self.on_ended, session)

    async def end(
        self, session: HubSession, reason: str | None, keeps_prompts: bool = False
    ) -> None:
        """Mark the session inactive, remove its immediate prompts from the queue, and publish the
        end. The caller holds its lock.
        """
        registry = self.registry
        if registry.cluster is not None:
            await registry.cluster.confirm(session.id)
        registry.live.forget(session.id)
        if session.deactivate(registry.now()):
            registry.publish_patch(session, **ENDED)
            await self._keep_active_at(session)
        if reason != "cleared" and not keeps_prompts:
            await self.messages.consume_all(session)
        extra = {} if reason is None else {"reason": reason}
        registry.publish(session, protocol_events.SESSION_ENDED, **extra)

    async def _keep_active_at(self, session: HubSession) -> None:
        try:
            session.row = await self.registry.store.change_session(
                session.id, {"active_at": session.active_at}
            )
        except (Moved, StoreAway):
            pass  # the hub that serves it by now knows better, or the store has logged it
        except Exception:
            self.log.failure(
                "Could not save when session {session_id} was last alive", session_id=session.id
            )

    # --- machines ---------------------------------------------------------------------------------

    def machine_alive(self, machine: HubMachine, event: dict[str, Any]) -> None:
        time = admissible(event.get("time"), self.registry.now())
        if time is not None and not self.registry.has_moved(machine.id):
            machine.health = checked_health(event.get("health"))
            self.machine_seen(machine, time)

    def machine_seen(self, machine: HubMachine, time: int) -> None:
        """The machine was alive at `time` (ms)."""
        now, was = self.registry.clock.seconds(), machine.active
        machine.active, machine.last_seen, machine.active_at = (
            True,
            now,
            min(max(machine.active_at, time), self.registry.now()),
        )
        if not was:
            self.registry.publish_machine(machine, machine_view(machine))
            machine.last_broadcast = now
        elif now - machine.last_broadcast >= REBROADCAST_INTERVAL:
            machine.last_broadcast = now
            self._patch(machine)

    def machine_gone(self, machine: HubMachine) -> None:
        """Mark the machine inactive, until it is seen again."""
        if machine.active:
            machine.active, machine.health = False, None
            self._patch(machine)

    def _patch(self, machine: HubMachine) -> None:
        row = machine.row
        patch = {
            "active": machine.active,
            "activeAt": machine.active_at,
            "updatedAt": row.updated_at,
        }
        self.registry.publish_machine(machine, patch)

    # --- silence ----------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Mark silent sessions and machines inactive, and deliver prompts that have become due.
        Nothing is deleted or archived.
        """
        registry, now = self.registry, self.registry.clock.seconds()
        for session in list(registry.sessions.values()):
            try:
                await self._check_session(session, now)
            except StoreAway:
                pass  # the store has logged it, and the session will be checked again
            except Exception:
                self.log.failure("Could not check session {session_id}", session_id=session.id)
        for machine in list(registry.machines.values()):
            is_silent = machine.active and now - machine.last_seen > MACHINE_TIMEOUT
            if is_silent and await self._may_judge(machine.id):
                self.machine_gone(machine)
        try:
            await self.messages.deliver_due()
        except StoreAway:
            pass  # the store has logged it, and will be asked again

    async def _may_judge(self, owner: str) -> bool:
        """Whether this hub may say that `owner` is silent, and no other hub serves it by now."""
        registry = self.registry
        if registry.cluster is None:
            return True
        if not registry.judges(owner):
            return False
        try:
            await registry.cluster.confirm(owner)
        except (Moved, StoreBusy, StoreFull, StoreFailed):
            return False
        found = registry.sessions.get(owner) or registry.machines.get(owner)
        timeout = SESSION_TIMEOUT if isinstance(found, HubSession) else MACHINE_TIMEOUT
        return found is not None and registry.clock.seconds() - found.last_seen > timeout

    async def _check_session(self, session: HubSession, now: float) -> None:
        """Mark the session inactive if it has been silent for too long at clock second `now`."""
        registry = self.registry
        is_silent = session.active and now - session.last_seen > SESSION_TIMEOUT
        if not is_silent or not await self._may_judge(session.id):
            return
        was_thinking = session.thinking
        if session.deactivate(registry.now()):
            registry.live.forget(session.id)
            registry.publish_patch(session, active=False, thinking=False, activeTurnStartedAt=None)
            await self._keep_active_at(session)
            if was_thinking:
                registry.notify(self.on_ended, session)
