"""Readers of the event stream, as pages are: they resume where they were, and read everything again
when the hub says that there is a gap.
"""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from tests.growth.rest import NoAnswer, Rest
from tests.growth.sessions import number_of, prompt_of

SILENCE_TIMEOUT = 45.0  # seconds, as in the page (pages/data/hub/events.js)
READ_TIMEOUT = 180.0  # seconds until a page gives up to read the list
FIRST_DELAY, MAX_DELAY = 0.5, 8.0  # seconds between connections, as in the page
VERSIONED = {"metadata": "metadataVersion", "agentState": "agentStateVersion"}
COMPARED = ("active", "thinking", "permissionMode", "model")  # of a session, with a fresh GET


class _Body(Protocol):
    """The body of a stream; `ended` fires when it ends for whatever reason."""

    def __init__(self, page: Page) -> None:
        self.page, self.ended = page, Deferred[None]()
        self.rest = b""
        self._watchdog = page.reactor.callLater(SILENCE_TIMEOUT, self.abort)

    def dataReceived(self, data: bytes) -> None:
        self._watchdog.reset(SILENCE_TIMEOUT)
        *frames, self.rest = (self.rest + data).split(b"\n\n")
        for frame in frames:
            self.page.frame(frame)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        if self._watchdog.active():
            self._watchdog.cancel()
        if not self.ended.called:
            self.ended.callback(None)


@define(eq=False)
class Conversation:
    """The messages of one session as a page has them."""

    rows: dict[str, tuple[int, Any]] = field(factory=dict)  # id -> seq and content
    highest: int = 0  # sequence number
    last_streamed: int = 0  # number of the agent's message that the stream brought last
    invoked: dict[str, int] = field(factory=dict)  # local id -> when


@define(eq=False)
class Page:
    """`sessions` is what the list of sessions shows."""

    reactor: Any
    rest: Rest
    number: int
    sessions: dict[str, dict[str, Any]] = field(factory=dict)
    conversations: dict[str, Conversation] = field(factory=dict)
    connects: int = 0
    resumes: int = 0
    gaps: int = 0
    streamed: set[str] = field(factory=set)  # ids of messages that the stream brought
    doubled: list[str] = field(factory=list)
    disordered: list[str] = field(factory=list)
    outcomes: Counter[str] = field(factory=Counter)
    is_stopped: bool = False
    _last_id: str | None = None
    _body: _Body | None = None
    _random: Random = field(factory=Random)
    _reading: int = 0  # how many times everything is being read at the moment
    _replays: dict[int, list[dict[str, Any]]] = field(factory=dict)  # events since each read
    _running: Deferred[None] | None = None
    log = Logger()

    def start(self) -> Page:
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: self.log.failure("A page failed", failure))
        return self

    def stop(self) -> None:
        self.is_stopped = True
        if self._body is not None:
            self._body.abort()

    async def _run(self) -> None:
        attempt = 0
        while not self.is_stopped:
            before = self.connects
            await self._listen()
            attempt = 1 if self.connects > before else attempt + 1
            delay = min(MAX_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
            await deferLater(self.reactor, delay * self._random.uniform(2 / 3, 1))

    async def _listen(self) -> None:
        headers = Headers({b"Accept": [b"text/event-stream"]})
        headers.addRawHeader(b"Authorization", f"Bearer {self.rest.jwt}".encode())
        if self._last_id is not None:
            headers.addRawHeader(b"Last-Event-ID", self._last_id.encode())
        url = f"{self.rest.url}/api/events?all=true&visibility=visible"
        try:
            asked = self.rest.http.request("GET", url, headers=headers, unbuffered=True)
            response = await asked.addTimeout(30.0, self.reactor)
        except Exception as problem:
            self.outcomes[type(problem).__name__] += 1
            return
        self.outcomes[str(response.code)] += 1
        if response.code != 200:
            await response.content()
            return
        self._body = _Body(self)
        response.original.deliverBody(self._body)
        await self._body.ended
        self._body = None

    # --- what it receives
    def frame(self, frame: bytes) -> None:
        data, identifier = None, None
        for line in frame.decode().split("\n"):
            if line.startswith("data: "):
                data = json.loads(line[6:])
            elif line.startswith("id: "):
                identifier = line[4:]
        if data is None:
            return
        if data["type"] == "connection-changed":
            self._opened(data["data"]["resume"] == "ok" and self._last_id is not None)
        elif data["type"] not in ("heartbeat", "toast"):
            for meanwhile in self._replays.values():
                meanwhile.append(data)
            self._apply(data, True)
        if identifier is not None:
            self._last_id = identifier

    def _opened(self, resumed: bool) -> None:
        self.connects += 1
        if resumed:
            self.resumes += 1
            return
        self.gaps += 1
        highest = {name: found.highest for name, found in self.conversations.items()}
        reading = Deferred.fromCoroutine(self._read_again(highest))
        reading.addErrback(lambda failure: self.log.failure("A page cannot read", failure))

    async def _read_again(self, highest: dict[str, int]) -> None:
        """Read all sessions, and of each the messages above `highest`."""
        self._reading += 1
        try:
            await self._read_sessions()
            for name in list(self.sessions):
                for row in await self.rest.rows(name, highest.get(name, 0)):
                    self._add(name, row)
        except NoAnswer as problem:
            self.log.error("A page cannot read again: {problem}", problem=str(problem))
        finally:
            self._reading -= 1

    async def _read_sessions(self) -> None:
        """An answer may be older than events that came while it was on its way: these are applied
        again.
        """
        deadline = self.reactor.seconds() + READ_TIMEOUT
        while True:
            meanwhile: list[dict[str, Any]] = []
            self._replays[id(meanwhile)] = meanwhile
            try:
                answer = await self.rest.once("GET", "/api/sessions")
            except NoAnswer:
                if self.reactor.seconds() > deadline:
                    raise
            else:
                self.sessions = {session["id"]: session for session in answer["sessions"]}
                for event in meanwhile:
                    self._apply(event, False)
                return
            finally:
                del self._replays[id(meanwhile)]
            await deferLater(self.reactor, FIRST_DELAY)

    async def fresh(self) -> dict[str, dict[str, Any]]:
        answer = await self.rest.until_done("GET", "/api/sessions")
        return {session["id"]: session for session in answer["sessions"]}

    def _apply(self, event: dict[str, Any], is_streamed: bool) -> None:
        name = event.get("sessionId") or ""
        match event["type"]:
            case "session-added" | "session-updated":
                if event.get("data"):
                    self._update(name, event["data"])
            case "session-ended":
                self._update(name, {"active": False, "thinking": False})
            case "session-removed":
                self.sessions.pop(name, None)
            case "message-received":
                if is_streamed:
                    self._streamed(name, event["message"])
                self._add(name, event["message"])
            case "messages-consumed":
                conversation = self.conversations.setdefault(name, Conversation())
                for local_id in event.get("localIds", ()):
                    conversation.invoked[local_id] = event.get("invokedAt", 0)

    def _update(self, name: str, data: dict[str, Any]) -> None:
        if "id" in data:
            self.sessions[name] = {**self.sessions.get(name, {}), **data}
            return
        known = self.sessions.setdefault(name, {})
        for key, value in data.items():
            version_key = VERSIONED.get(key)
            if version_key is None:
                known[key] = value
            elif isinstance(value, dict) and value.get("version", 0) >= known.get(version_key, 0):
                known[key], known[version_key] = value.get("value"), value["version"]

    def _streamed(self, name: str, message: dict[str, Any]) -> None:
        if message["id"] in self.streamed:
            self.doubled.append(message["id"])
            return
        self.streamed.add(message["id"])
        if (numbered := number_of(message["content"])) is not None:
            conversation = self.conversations.setdefault(name, Conversation())
            if numbered[1] <= conversation.last_streamed:
                self.disordered.append(f"{numbered} after {conversation.last_streamed}")
            conversation.last_streamed = numbered[1]

    def _add(self, name: str, row: dict[str, Any]) -> None:
        conversation = self.conversations.setdefault(name, Conversation())
        conversation.rows[row["id"]] = (row["seq"], row["content"])
        conversation.highest = max(conversation.highest, row["seq"])
        if row.get("localId") and row.get("invokedAt"):
            conversation.invoked[row["localId"]] = row["invokedAt"]

    # --- what it has
    @property
    def is_reading(self) -> bool:
        return self._reading > 0

    def numbers(self, name: str) -> list[int]:
        """The numbers of the agent's messages, in the order in which the page shows them."""
        rows = self.conversations.get(name, Conversation()).rows
        found = []
        for _, content in sorted(rows.values(), key=lambda row: row[0]):
            if (numbered := number_of(content)) is not None:
                found.append(numbered[1])
        return found

    def prompts(self) -> list[str]:
        found = []
        for conversation in self.conversations.values():
            for _, content in conversation.rows.values():
                if (text := prompt_of(content)) is not None:
                    found.append(text)
        return found

    def differences(self, fresh: dict[str, dict[str, Any]]) -> list[str]:
        """Where this page shows something else than a fresh answer of the hub."""
        found = []
        for name in sorted(set(fresh) | set(self.sessions)):
            new, old = fresh.get(name), self.sessions.get(name)
            if new is None or old is None:
                found.append(
                    f"session {name}: {'not there any more' if new is None else 'missing'}"
                )
                continue
            for key in COMPARED:
                if old.get(key) != new.get(key):
                    found.append(f"session {name}: {key} {old.get(key)!r}, not {new.get(key)!r}")
            if _title(old) != _title(new):
                found.append(f"session {name}: title {_title(old)!r}, not {_title(new)!r}")
        return found


def _title(session: dict[str, Any]) -> Any:
    return ((session.get("metadata") or {}).get("summary") or {}).get("text")
