"""Waiting for the turn that takes a prompt: when it has ended, and what the agent answered.

What decides is read from the hub each time, so that nothing is missed that happened before the wait
began or while the hub was away. It works with every hub and session, npm's too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from attrs import define, field, frozen

from hapi.client.api import ApiClient
from hapi.client.changes import Changes
from hapi.client.entities import Event, Message, PermissionRequest, Session
from hapi.client.errors import HubFailed, NotFound, TryLater
from hapi.net.common.errors import HubUnreachable
from hapi.protocol import events
from hapi.protocol.hub import STEERED

POLL_INTERVAL = 15.0  # seconds between two looks while no event comes
# A permission mode may answer a request at once, and an answered one stays for a moment.
REQUEST_SETTLE_TIME = 1.0  # seconds
IDLE_SETTLE_TIME = 10.0  # seconds without a turn after which a session that says nothing is ready
# A hub that was restarted knows sessions as inactive until they have connected again.
INACTIVE_SETTLE_TIME, INACTIVE_POLL_INTERVAL = 30.0, 2.0  # seconds
RETURN_TIME = 60.0  # seconds after its return in which a hub's word of an end is not believed yet
RETRY_INTERVAL = 2.0  # seconds
LOST_TIMEOUT = 300.0  # seconds that the hub may be away
PAGE = 200  # messages; a hub gives no more at once
MAX_PAGES = 50  # of one turn

# What our sessions and npm's say of a turn that brought no answer.
_FAILED_ENDS = ("Session aborted",)
_FAILURES = (" prompt failed: ", " ended the turn without an answer", " refused to continue ")


@frozen
class TurnEnded:
    """`texts`: all that the agent said. `problem`: why there is no answer, None if there is one."""

    texts: tuple[str, ...] = ()
    answer: str = ""
    problem: str | None = None


@frozen
class TurnAsks:
    """The agent waits for a person; the turn goes on with the answer."""

    requests: tuple[PermissionRequest, ...]


@frozen
class SessionOver:
    """The session has ended before the turn did."""

    texts: tuple[str, ...] = ()


@frozen
class PromptGone:
    """The prompt was cancelled before the session took it."""


Outcome = TurnEnded | TurnAsks | SessionOver | PromptGone


def records_of_turn(
    messages: Sequence[Message], invoked_at: int, is_steered: bool
) -> tuple[list[Message], bool]:
    """The agent's records of the turn that took the prompts of `invoked_at`, and whether the turn
    is over. `is_steered`: its agent may take further prompts during a turn.
    """
    found: list[Message] = []
    for message in sorted(messages, key=lambda each: each.position):
        if message.position[0] <= invoked_at and (message.role == "user" or message.is_ready):
            found.clear()  # of an earlier turn, or the prompt itself
        elif message.role != "user":
            if message.is_ready:
                return found, True
            found.append(message)
        elif message.local_id is not None and message.invoked_at is not None and not is_steered:
            return found, True  # sessions say nothing between two turns
    return found, False


def ended(records: Sequence[Message]) -> TurnEnded:
    """What came of a turn with these records. Its answer is what the agent said after its last tool
    call, or the last that it said before.
    """
    texts: list[str] = []
    answer: list[str] = []
    problem, has_called = None, False
    for record in records:
        if record.tool_calls:
            has_called = True
        elif (text := record.text) is not None and text.strip():
            if has_called:
                answer, has_called = [], False
            said = text.strip("\n")
            texts.append(said)
            answer.append(said)
            if record.data.get("isApiErrorMessage") is True:
                problem = text
        elif (status := record.status) is not None and is_failure(status):
            problem = status
    if problem is None and not texts:
        problem = "the turn ended without an answer"
    return TurnEnded(tuple(texts), "\n\n".join(answer), problem)


def is_failure(status: str) -> bool:
    return status in _FAILED_ENDS or any(words in status for words in _FAILURES)


@define(eq=False, repr=False)
class TurnWait:
    """The wait for the turn of one prompt. `local_id` is its own, None: the newest prompt's.

    `through_requests`: goes on while the agent waits for a person, who answers elsewhere.
    """

    _client: ApiClient
    _session_id: str
    _local_id: str | None = None
    _through_requests: bool = False
    _requests_since: dict[str, float] = field(factory=dict)
    _idle_since: float | None = None
    _newest: int = -1  # seq
    _lost_since: float | None = None
    _inactive_since: float | None = None
    _away_at: float = -inf  # when the hub was last away
    _connections: int = 0  # of the event stream

    async def run(self) -> Outcome:
        """Raises HubError, and HubUnreachable when the hub is away for too long."""
        changes = Changes(self._client, self._session_id, self._matters)
        changes.start()
        try:
            while True:
                try:
                    outcome, seconds = await self._look()
                    self._lost_since = None
                except (HubUnreachable, TryLater, HubFailed) as error:
                    self._inactive_since = None
                    self._check_absence(error)
                    outcome, seconds = None, RETRY_INTERVAL
                if outcome is not None:
                    return outcome
                await changes.wait(seconds)
        finally:
            changes.close()

    def _check_absence(self, error: Exception) -> None:
        now = self._away_at = self._client.clock.seconds()
        if self._lost_since is None:
            self._lost_since = now
        if now - self._lost_since > LOST_TIMEOUT:
            raise error

    def _matters(self, event: Event) -> bool:
        if event.type == events.CONNECTION_CHANGED:
            self._connections += 1
            if self._connections > 1:  # an absence that no look has met
                self._away_at = self._client.clock.seconds()
        return _matters(event)

    async def _look(self) -> tuple[Outcome | None, float]:
        """What has come of the turn, or None and the seconds until the next look."""
        invoked_at, session = None, None
        try:
            # The session comes last, so that it is not older than what it is compared with.
            if self._local_id is not None:
                invoked_at = await self._client.invoked_at(self._session_id, self._local_id)
            else:
                invoked_at = await self._newest_prompt()
            records: list[Message] = []
            session = await self._client.session(self._session_id)
            is_over = False
            if invoked_at is not None:
                steered = session.agent in STEERED
                records, is_over = await self._records(invoked_at, steered)
        except LookupError:
            return PromptGone(), 0
        except NotFound:
            return self._inactive((), is_certain=True)
        if is_over:
            return ended(records), 0
        if not session.active:
            return self._inactive(records, session.is_archived)
        self._inactive_since = None
        asked = self._asked(session)
        if asked is not None:
            return asked
        return self._idle(session, records, invoked_at is not None)

    async def _newest_prompt(self) -> int | None:
        """When the newest prompt was taken. Raises LookupError."""
        messages = await self._client.messages(self._session_id, PAGE)
        prompts = [each for each in messages if each.role == "user" and each.scheduled_at is None]
        if not prompts:
            raise LookupError
        newest = max(prompts, key=lambda each: each.seq)
        self._local_id = newest.local_id
        return newest.invoked_at if newest.local_id is not None else newest.position[0]

    async def _records(self, invoked_at: int, is_steered: bool) -> tuple[list[Message], bool]:
        messages = await self._client.messages(self._session_id, PAGE)
        page = messages
        for _ in range(MAX_PAGES):
            settled = [
                each for each in page if each.local_id is None or each.invoked_at is not None
            ]
            if len(page) < PAGE or not settled or settled[0].position[0] < invoked_at:
                break
            page = await self._client.messages(self._session_id, PAGE, before=settled[0])
            messages = [*page, *messages]
        return records_of_turn(messages, invoked_at, is_steered)

    def _inactive(
        self, records: Sequence[Message], is_certain: bool
    ) -> tuple[SessionOver | None, float]:
        now = self._client.clock.seconds()
        if self._inactive_since is None:
            self._inactive_since = now
        is_settled = is_certain or now - self._inactive_since >= INACTIVE_SETTLE_TIME
        if is_settled and now - self._away_at >= RETURN_TIME:
            return SessionOver(ended(records).texts), 0
        return None, INACTIVE_POLL_INTERVAL

    def _asked(self, session: Session) -> tuple[TurnAsks | None, float] | None:
        now = self._client.clock.seconds()
        open_requests = {each.id: each for each in session.requests}
        self._requests_since = {name: self._requests_since.get(name, now) for name in open_requests}
        if not open_requests:
            return None
        self._idle_since = None
        if self._through_requests:
            return None, POLL_INTERVAL
        settled = [
            request
            for name, request in open_requests.items()
            if now - self._requests_since[name] >= REQUEST_SETTLE_TIME
        ]
        return (TurnAsks(tuple(settled)), 0) if settled else (None, REQUEST_SETTLE_TIME)

    def _idle(
        self, session: Session, records: Sequence[Message], is_invoked: bool
    ) -> tuple[TurnEnded | None, float]:
        """A session that has taken the prompt, does not work and adds nothing has ended the turn,
        even if it does not say so.
        """
        now = self._client.clock.seconds()
        newest = max((each.seq for each in records), default=0)
        if session.thinking or not is_invoked or newest != self._newest:
            self._idle_since, self._newest = None, newest
        if session.thinking or not is_invoked:
            return None, POLL_INTERVAL
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since >= IDLE_SETTLE_TIME:
            return ended(records), 0
        return None, IDLE_SETTLE_TIME


def _matters(event: Event) -> bool:
    """Whether a turn may have ended, or wait for a person, with this event."""
    data = event.body.get("data")
    if event.type == events.MESSAGE_RECEIVED:
        message = event.body.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        inner = content.get("content") if isinstance(content, dict) else None
        return isinstance(inner, dict) and inner.get("type") == "event"
    if event.type == events.SESSION_UPDATED and isinstance(data, dict):
        return "agentState" in data or data.get("active") is False or "thinking" in data
    return event.type != events.HEARTBEAT
