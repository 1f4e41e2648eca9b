"""Prompts that wait for their process: taken back, or queued again when it is not known whether the
agent has got them.

The process is asked first: it may have passed the prompt to the agent already.
"""

from __future__ import annotations

import uuid
from typing import Any

from attrs import define, evolve, frozen

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import delivery_view
from hapi.hub.store.rows import INDETERMINATE, QUEUED, Consumed, MessageRow, SessionRow
from hapi.net.common.errors import AckTimeout, PeerGone
from hapi.protocol import events as protocol_events

CANCEL_TIMEOUT = 0.5  # seconds that a process has to answer about a prompt


@frozen
class PromptCancelled:
    local_id: str | None


@frozen
class PromptInvoked:
    message: MessageRow


@frozen
class PromptBusy:
    local_id: str | None


@frozen
class RetryResult:
    status: str  # retried, already-queued, retry-unavailable, invoked, not-found
    local_id: str | None = None
    message: MessageRow | None = None


def publish_consumed(
    turn: Any, session: HubSession, taken: Consumed, steered: bool = False
) -> None:
    """The event of a turn in which the agent has got prompts."""
    if taken.local_ids:
        extra = {"steered": True} if steered else {}
        turn.publish(
            session.namespace,
            protocol_events.MESSAGES_CONSUMED,
            sessionId=session.id,
            localIds=taken.local_ids,
            invokedAt=taken.at,
            **extra,
        )


@define(eq=False, repr=False)
class QueuedPrompts:
    registry: HubRegistry

    async def cancel(
        self, session: HubSession, name: str
    ) -> PromptCancelled | PromptInvoked | PromptBusy:
        """Cancel a prompt that its process has not passed to the agent; `name` is its id or local
        id.
        """
        store, now = self.registry.store, self.registry.now
        message = await store.message(session.id, name)
        if message is None:
            return PromptCancelled(None)
        if message.invoked_at is not None:
            return PromptInvoked(message)
        if (message.scheduled_at or 0) > now():
            return await self._delete(session, message, name)
        answer = await self._ask(
            session, protocol_events.UPDATE_CANCEL_QUEUED_MESSAGE, message, messageId=name
        )
        if answer is None or answer.get("removed") is True:
            return await self._delete(session, message, name)
        if answer.get("consumed") is True:
            return await self._invoke(session, message)
        knows = answer.get("inFlight") is True or answer.get("indeterminate") is True
        if not knows:
            await self._set_delivery(
                session, message, INDETERMINATE, protocol_events.MESSAGES_INDETERMINATE
            )
        return PromptBusy(message.local_id)

    async def _set_delivery(
        self, session: HubSession, message: MessageRow, delivery: str, kind: str
    ) -> bool:
        """Set the delivery state of a prompt and publish that as an event of this kind. False if
        the prompt was consumed or deleted meanwhile.
        """

        def change(turn: Any) -> bool:
            is_set: bool = turn.set_delivery(message.id, delivery)
            if is_set:
                turn.publish(
                    session.namespace, kind, sessionId=session.id, localIds=[message.local_id]
                )
            return is_set

        return await self.registry.turn(session, change)

    async def _delete(
        self, session: HubSession, message: MessageRow, name: str
    ) -> PromptCancelled | PromptInvoked:
        namespace, had = session.namespace, session.row.has_content

        def change(turn: Any) -> SessionRow | None:
            row: SessionRow | None = turn.delete_message(message.id)
            if row is None:
                return None
            if had and not row.has_content:
                view = self.registry.view_of(session, row)
                turn.publish(
                    namespace, protocol_events.SESSION_UPDATED, sessionId=session.id, data=view
                )
            turn.publish(
                namespace,
                protocol_events.MESSAGE_CANCELLED,
                sessionId=session.id,
                messageId=name,
                localId=message.local_id,
            )
            return row

        async def delete() -> PromptCancelled | PromptInvoked:
            row = await self.registry.turn(session, change)
            if row is None:
                found = await self.registry.store.message(session.id, message.id)
                return PromptCancelled(message.local_id) if found is None else PromptInvoked(found)
            session.row = row
            return PromptCancelled(message.local_id)

        return await self.registry.serialized(session, delete)

    async def _invoke(self, session: HubSession, message: MessageRow) -> PromptInvoked:
        async def invoke() -> PromptInvoked:
            now, local_id = self.registry.now(), message.local_id
            assert local_id is not None

            def consume(turn: Any) -> None:
                publish_consumed(turn, session, turn.consume(session.id, [local_id], now, False))

            await self.registry.turn(session, consume)
            found = await self.registry.store.message(session.id, message.id)
            return PromptInvoked(found or evolve(message, invoked_at=now))

        return await self.registry.serialized(session, invoke)

    async def _ask(
        self, session: HubSession, question: str, about: MessageRow, **extra: Any
    ) -> dict[str, Any] | None:
        """Ask the session process about a prompt. None: no process is connected; {}: it did not
        answer within CANCEL_TIMEOUT.
        """
        peers = self.registry.rooms.room(session.room)
        if not peers:
            return None
        now = self.registry.now()
        body = {
            "t": question,
            "sid": session.id,
            "messageId": about.id,
            "localId": about.local_id,
            **extra,
        }
        plain = question == protocol_events.UPDATE_CANCEL_QUEUED_MESSAGE
        update = {
            "id": str(uuid.uuid4()) if plain else about.id,
            "seq": 0 if plain else about.seq,
            "createdAt": now if plain else about.created_at,
            "body": body,
        }
        waiting = [
            peer.call(protocol_events.UPDATE, update, timeout=CANCEL_TIMEOUT) for peer in peers
        ]
        best: dict[str, Any] = {}
        gone = 0
        for answer in waiting:
            try:
                found = await answer
            except PeerGone:
                gone += 1
                continue
            except AckTimeout:
                continue
            if found and isinstance(found[0], dict):
                best = {
                    key: best.get(key) is True or found[0].get(key) is True
                    for key in {*best, *found[0]}
                }
        return None if gone == len(waiting) else best

    async def retry(self, session: HubSession, name: str) -> RetryResult:
        """Queue an indeterminate prompt again, if its process confirms that it does not have it."""
        store = self.registry.store
        message = await store.message(session.id, name)
        if message is None:
            return RetryResult("not-found")
        if message.invoked_at is not None:
            return RetryResult("invoked", message.local_id, message)
        if message.delivery != INDETERMINATE:
            return RetryResult("already-queued", message.local_id)
        answer = await self._ask(
            session,
            protocol_events.UPDATE_CANCEL_QUEUED_MESSAGE,
            message,
            messageId=message.local_id,
        )
        if answer is not None and answer.get("consumed") is True:
            invoked = await self._invoke(session, message)
            return RetryResult("invoked", message.local_id, invoked.message)
        if answer is None or answer.get("removed") is not True:
            return RetryResult("retry-unavailable", message.local_id)
        accepted = await self._ask(
            session,
            protocol_events.UPDATE_RETRY_QUEUED_MESSAGE,
            message,
            message=delivery_view(message),
        )
        if not accepted or accepted.get("accepted") is not True:
            return RetryResult("retry-unavailable", message.local_id)
        if not await self._set_delivery(
            session, message, QUEUED, protocol_events.MESSAGES_REQUEUED
        ):
            found = await store.message(session.id, message.id)
            return RetryResult("not-found" if found is None else "invoked", message.local_id, found)
        session.has_queue = True
        return RetryResult("retried", message.local_id)
