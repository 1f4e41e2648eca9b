"""Messages: taken in from processes and people, delivered, consumed, cancelled, retried."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from hapi.hub.domain import content as contents
from hapi.hub.domain.entities import GRACE, Session
from hapi.hub.domain.registry import Engine
from hapi.hub.domain.views import delivery, message_view, new_message
from hapi.hub.store.rows import INDETERMINATE, QUEUED, MessageRow
from hapi.net.common.errors import AckTimeout, PeerGone
from hapi.protocol.hub import STEERED, PostMessage

CANCEL_ANSWER = 0.5  # seconds a process has to say what became of a prompt


@frozen
class Cancelled:
    local_id: str | None


@frozen
class Invoked:
    message: MessageRow


@frozen
class Busy:
    local_id: str | None


@frozen
class Retried:
    status: str  # retried, already-queued, retry-unavailable, invoked, not-found
    local_id: str | None = None
    message: MessageRow | None = None


@define(eq=False)
class Messages:
    engine: Engine
    on_ready: list[Callable[[Session], None]] = field(factory=list)
    _looked: int | None = None  # ms until which due prompts were announced

    log = Logger()

    # --- from session processes --------------------------------------------------------------------------------------

    async def take_in(self, session: Session, event: dict[str, Any], sender: Any) -> None:
        """Keep what a process says, and tell everybody else."""
        local_id = event.get("localId")
        named = (
            local_id
            if isinstance(local_id, str)
            and local_id
            and len(local_id) <= 512
            and local_id.isprintable()
            else None
        )
        await self.engine.in_lane(session, lambda: self._take_in(session, event, named, sender))

    async def _take_in(
        self, session: Session, event: dict[str, Any], local_id: str | None, sender: Any
    ) -> None:
        engine, now = self.engine, self.engine.now()
        content = contents.content_of(event.get("message"))
        given = event.get("createdAt")
        dated = isinstance(given, (int, float)) and not isinstance(given, bool) and 0 < given <= now
        created = int(given or now) if dated and local_id is None else now
        by_person = contents.role(content) == "user"
        row = MessageRow(
            str(uuid.uuid4()), session.id, 0, content, created, local_id,
            invoked_at=None if local_id else created, delivery=QUEUED if local_id else None,
            stream=contents.stream_of(content),
        )  # fmt: skip
        first = not session.row.has_content
        added = await engine.store.add_message(row, now if by_person else None)
        if not added.new:
            self._deliver(session, added.message)
            return
        engine.note(session, added.session)
        if by_person:
            engine.patch(session, updatedAt=session.row.updated_at)
        if first and session.row.has_content:
            engine.tell_whole(session)
        engine.tell(session, "message-received", message=message_view(added.message))
        if local_id:
            session.has_queue = True
        engine.rooms.emit(
            session.room, "update", new_message(added.message), without=None if local_id else sender
        )
        todos = contents.todos_of(content)
        if todos is not None:
            session.row = await engine.store.change_session(
                session.id, {"todos": todos, "todos_updated_at": now}
            )
            engine.patch(session, todos={"version": now, "value": todos})
        if contents.is_ready(content):
            for call in self.on_ready:
                call(session)

    # --- from people -------------------------------------------------------------------------------------------------

    async def post(self, session: Session, posted: PostMessage) -> MessageRow:
        """Keep a prompt and deliver it, unless it is scheduled. A known local id is only delivered again."""
        return await self.engine.in_lane(session, lambda: self._post(session, posted))

    async def _post(self, session: Session, posted: PostMessage) -> MessageRow:
        engine, now = self.engine, self.engine.now()
        steers = session.flavor in STEERED or session.metadata.get("cursorSessionProtocol") == "acp"
        mode = posted.delivery_mode if steers else "queue"
        local_id = posted.local_id or (
            None if session.active else str(uuid.uuid4())
        )  # nobody hears it yet: it has to wait
        queued = local_id is not None
        row = MessageRow(
            str(uuid.uuid4()), session.id, 0, contents.cut(contents.prompt(posted.text, posted.attachments, mode)), now,
            local_id, None if queued else now, posted.scheduled_at, QUEUED if queued else None,
        )  # fmt: skip
        first = not session.row.has_content
        added = await engine.store.add_message(row, now)
        message = added.message
        if not added.new:
            if (
                message.invoked_at is None
                and message.delivery != INDETERMINATE
                and (message.scheduled_at or 0) <= now
            ):
                self._deliver(session, message)
            return message
        engine.note(session, added.session)
        engine.patch(session, updatedAt=session.row.updated_at)
        if first:
            engine.tell_whole(session)
        engine.tell(session, "message-received", message=message_view(message))
        if message.scheduled_at is None or message.scheduled_at <= now:
            session.has_queue = session.has_queue or queued
            self._deliver(session, message)
        if session.active and (message.scheduled_at is None or message.scheduled_at <= now):
            session.grace_until = engine.clock.seconds() + GRACE
            if not session.thinking:
                session.thinking, session.thinking_at, session.turn_started_at = (
                    True,
                    now,
                    message.created_at,
                )
            engine.patch(
                session,
                thinking=True,
                activeTurnStartedAt=session.turn_started_at,
                updatedAt=session.row.updated_at,
            )
        return message

    # --- delivery ----------------------------------------------------------------------------------------------------

    def _deliver(self, session: Session, message: MessageRow) -> None:
        self.engine.rooms.emit(session.room, "update", new_message(message))

    async def redeliver(self, session: Session) -> None:
        """Send again every immediate prompt that waits; scheduled ones come with the tick."""
        queued = await self.engine.store.queued(session.id, 0)
        session.has_queue = bool(queued)
        for message in queued:
            self._deliver(session, message)

    async def deliver_due(self) -> None:
        """Deliver scheduled prompts that are due, at every tick until they are consumed; the first time with an event."""
        engine, now = self.engine, self.engine.now()
        since = now if self._looked is None else self._looked
        self._looked = now
        for message in await engine.store.due(0, now):
            session = engine.sessions.get(message.session_id)
            if session is None:
                continue
            if since < (message.scheduled_at or 0) <= now:
                engine.tell(session, "scheduled-matured")
            if session.active:
                self._deliver(session, message)

    async def consumed(
        self, session: Session, local_ids: list[str], clears_grace: bool, steered: bool
    ) -> None:
        """The process took these prompts."""
        await self.engine.in_lane(
            session, lambda: self._consumed(session, local_ids, clears_grace, steered)
        )

    async def _consumed(
        self, session: Session, local_ids: list[str], clears_grace: bool, steered: bool
    ) -> None:
        engine, now = self.engine, self.engine.now()
        taken = await engine.store.consume(session.id, local_ids, now, True)
        if taken:
            engine.note(session, {"updated_at": max(session.row.updated_at, now)})
            engine.patch(session, updatedAt=session.row.updated_at)
            self._tell_consumed(session, taken, now, steered)
        if clears_grace and session.grace_until:
            session.grace_until = 0.0
            if session.thinking:
                session.thinking, session.thinking_at, session.turn_started_at = False, now, None
                engine.patch(session, thinking=False, activeTurnStartedAt=None)

    async def consume_all(self, session: Session) -> None:
        """The session ended: its immediate prompts count as taken. Called in its lane."""
        now = self.engine.now()
        taken = await self.engine.store.consume_all(session.id, now)
        session.has_queue = False
        if taken:
            self._tell_consumed(session, taken, now, False)

    def _tell_consumed(
        self, session: Session, local_ids: list[str], at: int, steered: bool
    ) -> None:
        extra = {"steered": True} if steered else {}
        self.engine.tell(session, "messages-consumed", localIds=local_ids, invokedAt=at, **extra)

    async def indeterminate(self, session: Session, local_ids: list[str]) -> None:
        """A process says that it cannot know whether these reached the agent."""

        async def mark() -> None:
            rows = await self.engine.store.local_messages(session.id, local_ids)
            marked = [
                row.local_id
                for row in rows
                if await self.engine.store.set_delivery(row.id, INDETERMINATE)
            ]
            if marked:
                self.engine.tell(session, "messages-indeterminate", localIds=marked)

        await self.engine.in_lane(session, mark)

    # --- second thoughts ---------------------------------------------------------------------------------------------

    async def cancel(self, session: Session, name: str) -> Cancelled | Invoked | Busy:
        """Take a prompt back, if its process has not handed it over; `name` is its id or local id."""
        store, now = self.engine.store, self.engine.now
        message = await store.message(session.id, name)
        if message is None:
            return Cancelled(None)
        if message.invoked_at is not None:
            return Invoked(message)
        if (message.scheduled_at or 0) > now():
            return await self._delete(session, message, name)
        answer = await self._ask(session, "cancel-queued-message", message, messageId=name)
        if answer is None or answer.get("removed") is True:
            return await self._delete(session, message, name)
        if answer.get("consumed") is True:
            return await self._invoke(session, message)
        knows = answer.get("inFlight") is True or answer.get("indeterminate") is True
        if not knows and await store.set_delivery(message.id, INDETERMINATE):
            self.engine.tell(session, "messages-indeterminate", localIds=[message.local_id])
        return Busy(message.local_id)

    async def _delete(
        self, session: Session, message: MessageRow, name: str
    ) -> Cancelled | Invoked:
        async def delete() -> Cancelled | Invoked:
            had = session.row.has_content
            row = await self.engine.store.delete_message(message.id)
            if row is None:
                found = await self.engine.store.message(session.id, message.id)
                return Cancelled(message.local_id) if found is None else Invoked(found)
            session.row = row
            if had and not row.has_content:
                self.engine.tell_whole(session)
            self.engine.tell(session, "message-cancelled", messageId=name, localId=message.local_id)
            return Cancelled(message.local_id)

        return await self.engine.in_lane(session, delete)

    async def _invoke(self, session: Session, message: MessageRow) -> Invoked:
        async def invoke() -> Invoked:
            now = self.engine.now()
            assert message.local_id is not None
            if await self.engine.store.consume(session.id, [message.local_id], now, False):
                self._tell_consumed(session, [message.local_id], now, False)
            found = await self.engine.store.message(session.id, message.id)
            return Invoked(found or evolve(message, invoked_at=now))

        return await self.engine.in_lane(session, invoke)

    async def _ask(
        self, session: Session, question: str, about: MessageRow, **extra: Any
    ) -> dict[str, Any] | None:
        """Ask the process about a prompt. None: there is no process; {}: it gave no answer in half a second."""
        peers = self.engine.rooms.room(session.room)
        if not peers:
            return None
        now = self.engine.now()
        body = {
            "t": question,
            "sid": session.id,
            "messageId": about.id,
            "localId": about.local_id,
            **extra,
        }
        plain = question == "cancel-queued-message"
        update = {
            "id": str(uuid.uuid4()) if plain else about.id,
            "seq": 0 if plain else about.seq,
            "createdAt": now if plain else about.created_at,
            "body": body,
        }
        waiting = [peer.call("update", update, timeout=CANCEL_ANSWER) for peer in peers]
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

    async def retry(self, session: Session, name: str) -> Retried:
        """Queue an indeterminate prompt again, if its process can say that it does not have it."""
        store = self.engine.store
        message = await store.message(session.id, name)
        if message is None:
            return Retried("not-found")
        if message.invoked_at is not None:
            return Retried("invoked", message.local_id, message)
        if message.delivery != INDETERMINATE:
            return Retried("already-queued", message.local_id)
        answer = await self._ask(
            session, "cancel-queued-message", message, messageId=message.local_id
        )
        if answer is not None and answer.get("consumed") is True:
            invoked = await self._invoke(session, message)
            return Retried("invoked", message.local_id, invoked.message)
        if answer is None or answer.get("removed") is not True:
            return Retried("retry-unavailable", message.local_id)
        accepted = await self._ask(
            session, "retry-queued-message", message, message=delivery(message)
        )
        if not accepted or accepted.get("accepted") is not True:
            return Retried("retry-unavailable", message.local_id)
        if not await store.set_delivery(message.id, QUEUED):
            found = await store.message(session.id, message.id)
            return Retried("not-found" if found is None else "invoked", message.local_id, found)
        session.has_queue = True
        self.engine.tell(session, "messages-requeued", localIds=[message.local_id])
        return Retried("retried", message.local_id)
