"""Messages: received from processes and people, delivered, consumed."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, evolve, field
from twisted.logger import Logger

from hapi.hub.domain import content as contents
from hapi.hub.domain.entities import THINKING_GRACE, HubSession
from hapi.hub.domain.queued_prompts import publish_consumed
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.views import message_view, new_message_update
from hapi.hub.store.rows import INDETERMINATE, QUEUED, Added, Consumed, MessageRow
from hapi.protocol import events as protocol_events
from hapi.protocol.hub import STEERED
from hapi.protocol.rest.bodies import PostMessage

LONG_PROMPT_INTERVAL = 30.0  # seconds until a long prompt is delivered again to the same process
ROW_ID = object()  # key of an event: the id that its message gets, however often it is tried


@define(eq=False, repr=False)
class Messages:
    registry: HubRegistry
    on_ready: list[Callable[[HubSession], None]] = field(factory=list)
    # ids of the waiting prompts whose time had come at the last check; None before the first
    _due: frozenset[str] | None = None

    # messages that were stored: by `agent`, and prompts of a `person`
    stored: Counter[str] = field(factory=Counter)

    log = Logger()

    # --- from session processes ------------------------------------------------------------------

    async def receive(self, session: HubSession, event: dict[Any, Any], sender: Any) -> None:
        """Store a message of a session process and publish it to everybody else."""
        local_id = event.get("localId")
        named = (
            local_id
            if isinstance(local_id, str)
            and local_id
            and len(local_id) <= 512
            and local_id.isprintable()
            else None
        )
        registry, now = self.registry, self.registry.now()
        content = contents.content_of(event.get("message"))
        given = event.get("createdAt")
        dated = isinstance(given, (int, float)) and not isinstance(given, bool) and 0 < given <= now
        by_person = contents.role(content) == "user"
        is_repeated = ROW_ID in event
        row = MessageRow(
            event.setdefault(ROW_ID, str(uuid.uuid4())),
            session.id,
            0,
            content,
            int(given or now) if dated and named is None else now,
            named,
            invoked_at=None if named else now,
            delivery=QUEUED if named else None,
            stream=contents.stream_of(content),
        )
        todos = contents.todos_of(content)

        def receive(turn: Any) -> Added:
            added: Added = turn.add_message(row, now if by_person else None)
            if added.new:
                self._publish_added(turn, session, added, by_person)
                if todos is not None:
                    # The clock of the hub that stored the list before may have been ahead.
                    at = max(now, session.row.todos_updated_at)
                    columns = {"todos": todos, "todos_updated_at": at}
                    turn.change_session(session.id, columns)
                    patch = {"todos": {"version": at, "value": todos}}
                    turn.publish(
                        session.namespace,
                        protocol_events.SESSION_UPDATED,
                        sessionId=session.id,
                        data=patch,
                    )
                    return evolve(added, session={**added.session, **columns})
            return added

        # What became of the first try may be unknown, when the connection to the database broke.
        stored = await registry.store.message(session.id, row.id) if is_repeated else None
        if stored is None:
            added = await registry.turn(session, receive)
        else:
            added = Added(stored, True, {})
        registry.live.stored(session.id, content)
        if not added.new:
            self._deliver(session, added.message)
            return
        self.stored["person" if by_person else "agent"] += 1
        registry.apply_changes(session, added.session)
        if named:
            session.has_queue = True
        registry.rooms.emit(
            session.room,
            protocol_events.UPDATE,
            new_message_update(added.message),
            without=None if named else sender,
        )
        if contents.is_ready(content):
            registry.notify(self.on_ready, session)

    def _publish_added(self, turn: Any, session: HubSession, added: Added, with_time: bool) -> None:
        """The events of a new message. `with_time`: the session's updated_at has changed."""
        namespace, name = session.namespace, session.id
        if with_time:
            patch = {"updatedAt": added.session["updated_at"]}
            turn.publish(namespace, protocol_events.SESSION_UPDATED, sessionId=name, data=patch)
        if added.first:
            view = self.registry.view_of(session, turn.session(name))
            turn.publish(namespace, protocol_events.SESSION_UPDATED, sessionId=name, data=view)
        message = message_view(added.message)
        turn.publish(namespace, protocol_events.MESSAGE_RECEIVED, sessionId=name, message=message)

    # --- from people -----------------------------------------------------------------------------

    async def post(self, session: HubSession, posted: PostMessage) -> None:
        """Store a prompt and deliver it, unless it is scheduled. A prompt with a known local id is
        only delivered again.
        """
        given = {"session": session.id, "body": msgspec.to_builtins(posted)}
        await self.registry.at_home(
            session.id, "post-message", given, lambda: self.post_here(session, posted)
        )

    async def post_here(self, session: HubSession, posted: PostMessage) -> None:
        """`post` at the hub that serves the session."""
        await self.registry.serialized(session, lambda: self._post(session, posted))

    async def _post(self, session: HubSession, posted: PostMessage) -> MessageRow:
        registry, now = self.registry, self.registry.now()
        steers = session.flavor in STEERED or session.metadata.get("cursorSessionProtocol") == "acp"
        mode = posted.delivery_mode if steers else "queue"
        local_id = posted.local_id
        if local_id is None and not session.active:
            local_id = str(uuid.uuid4())  # no process is connected: the prompt has to wait
        queued = local_id is not None
        row = MessageRow(
            str(uuid.uuid4()),
            session.id,
            0,
            contents.storable(contents.prompt(posted.text, posted.attachments, mode)),
            now,
            local_id,
            None if queued else now,
            posted.scheduled_at,
            QUEUED if queued else None,
        )

        def post(turn: Any) -> Added:
            added: Added = turn.add_message(row, now)
            if added.new:
                self._publish_added(turn, session, added, with_time=True)
            return added

        added = await registry.turn(session, post)
        message = added.message
        if not added.new:
            if (
                message.invoked_at is None
                and message.delivery != INDETERMINATE
                and (message.scheduled_at or 0) <= now
            ):
                await self._deliver_in_order(session, message)
            return message
        self.stored["person"] += 1
        registry.apply_changes(session, added.session)
        if message.scheduled_at is None or message.scheduled_at <= now:
            session.has_queue = session.has_queue or queued
            await self._deliver_in_order(session, message)
        if session.active and (message.scheduled_at is None or message.scheduled_at <= now):
            session.grace_until = registry.clock.seconds() + THINKING_GRACE
            if not session.thinking:
                session.thinking, session.thinking_at, session.turn_started_at = (
                    True,
                    now,
                    message.created_at,
                )
            registry.publish_patch(
                session,
                thinking=True,
                activeTurnStartedAt=session.turn_started_at,
                updatedAt=session.row.updated_at,
            )
        return message

    # --- delivery --------------------------------------------------------------------------------

    def _deliver(self, session: HubSession, message: MessageRow) -> None:
        if contents.is_long(message.content):
            session.long_prompts_sent[message.id] = self.registry.clock.seconds()
        self.registry.rooms.emit(session.room, protocol_events.UPDATE, new_message_update(message))

    async def _deliver_in_order(self, session: HubSession, message: MessageRow) -> None:
        """Deliver a prompt after all that a process that has just connected has not got yet."""
        delivered = () if session.is_caught_up else await self.redeliver(session)
        if message.id not in delivered:
            self._deliver(session, message)

    async def redeliver(self, session: HubSession) -> frozenset[str]:
        """Deliver all waiting immediate prompts again, oldest first; `deliver_due` delivers
        scheduled ones. Returns the ids of what was delivered.
        """
        session.is_caught_up = True
        queued = await self.registry.store.queued(session.id, 0)
        session.has_queue = bool(queued)
        sent = [
            message
            for message in queued
            if message.local_id not in session.taking and self._may_redeliver(session, message)
        ]
        for message in sent:
            self._deliver(session, message)
        return frozenset(message.id for message in sent)

    def _may_redeliver(self, session: HubSession, message: MessageRow) -> bool:
        """Whether it is time to send the prompt again: a long one would otherwise be sent with
        each alive of a turn that lasts for hours."""
        sent = session.long_prompts_sent.get(message.id, float("-inf"))
        return self.registry.clock.seconds() - sent >= LONG_PROMPT_INTERVAL

    async def deliver_due(self) -> None:
        """Deliver scheduled prompts that are due, at each sweep until they are consumed; the first
        delivery publishes an event.
        """
        registry, now = self.registry, self.registry.now()
        due = await registry.store.due(0, now)
        if registry.cluster is not None and self._due is not None:
            # Another hub judges the others; it may end before it has published one.
            due = [message for message in due if registry.judges(message.session_id)]
        known, self._due = self._due, frozenset(message.id for message in due)
        for message in due:
            session = registry.sessions.get(message.session_id)
            if session is None or not registry.judges(session.id):
                continue
            try:
                if known is not None and message.id not in known:
                    registry.publish(session, protocol_events.SCHEDULED_MATURED)
                if session.active:
                    self._deliver(session, message)
            except Exception:
                self.log.failure(
                    "The scheduled prompt {id} of session {session_id} could not be delivered",
                    id=message.id,
                    session_id=session.id,
                )

    async def consumed(
        self, session: HubSession, local_ids: list[str], clears_grace: bool, steered: bool
    ) -> None:
        """The session process has taken these prompts."""
        registry, now = self.registry, self.registry.now()
        session.taking.update(local_ids)

        def consume(turn: Any) -> Consumed:
            taken: Consumed = turn.consume(session.id, local_ids, now, True)
            if taken.local_ids:
                turn.publish(
                    session.namespace,
                    protocol_events.SESSION_UPDATED,
                    sessionId=session.id,
                    data={"updatedAt": max(session.row.updated_at, taken.at)},
                )
                publish_consumed(turn, session, taken, steered)
            return taken

        taken = await registry.turn(session, consume)
        session.taking.difference_update(local_ids)
        session.long_prompts_sent.clear()
        if taken.local_ids:
            registry.apply_changes(session, {"updated_at": max(session.row.updated_at, taken.at)})
        if clears_grace and session.grace_until:
            session.grace_until = 0.0
            if session.thinking:
                session.thinking, session.thinking_at, session.turn_started_at = False, now, None
                registry.publish_patch(session, thinking=False, activeTurnStartedAt=None)

    async def consume_all(self, session: HubSession) -> None:
        """The session has ended: its immediate prompts count as taken.

        The caller holds its lock.
        """
        now = self.registry.now()

        def consume(turn: Any) -> None:
            publish_consumed(turn, session, turn.consume_all(session.id, now))

        await self.registry.turn(session, consume)
        session.has_queue = False

    async def indeterminate(self, session: HubSession, local_ids: list[str]) -> None:
        """The session process reports that these prompts may or may not have reached the agent."""

        def mark(turn: Any) -> None:
            marked = [
                row.local_id
                for row in turn.local_messages(session.id, local_ids)
                if turn.set_delivery(row.id, INDETERMINATE)
            ]
            if marked:
                turn.publish(
                    session.namespace,
                    protocol_events.MESSAGES_INDETERMINATE,
                    sessionId=session.id,
                    localIds=marked,
                )

        await self.registry.turn(session, mark)
