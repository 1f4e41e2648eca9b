"""OpenCode's own program (`opencode`), seen through the server that it runs for its terminal."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import quote

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none
from hapi.protocol.json import Malformed, from_json
from hapi.session.local.interface import Launch, LocalStart, Mirror
from hapi.session.local.opencode_api import ApiError, OpenCodeApi, ProgramOutput
from hapi.session.local.opencode_events import ConversationReader
from hapi.session.local.opencode_requests import Requests

RETRY_INTERVAL = 0.3  # seconds until the server is called again
LAST_EVENTS_TIMEOUT = 2.0  # seconds for what is still to be read when the program has ended
START_TIMEOUT = 10.0  # seconds; a program that ends before that was not used
EXPORT_TIMEOUT = 60.0  # seconds for `opencode export`
READ_ATTEMPTS = 3  # to read the messages
MAX_MESSAGES = 200  # that are read again after the stream was lost
CONFIG = "OPENCODE_CONFIG_CONTENT"  # environment variable with more settings, as JSON


def own_program(reactor: Any, start: LocalStart, mirror: Mirror) -> OpenCodeProgram:
    return OpenCodeProgram(reactor, start, mirror)


@define(eq=False, repr=False)
class OpenCodeProgram:
    _reactor: Any
    _start: LocalStart
    _mirror: Mirror
    interrupt_keys: bytes = b""
    leave_keys: bytes = b""
    _api: OpenCodeApi | None = None
    _reader: ConversationReader = field(init=False)
    _requests: Requests = field(init=False)
    _windows: dict[tuple[str, str], int] = field(factory=dict)
    _watching: Deferred[Any] | None = None
    _ended: bool = False
    _early: list[Mapping[str, Any]] | None = None  # events that came before the list of messages
    _place: Any = None  # the last checkpoint
    # Seconds of the clock: since when the reader may have missed something; None: it has not.
    _lost_at: float | None = None
    _was_open: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        place = mapping(self._start.checkpoint)
        since = count_or_none(place.get("since"))
        if since is None or place.get("session") != self._start.agent_session:
            since = int(time.time() * 1000)
        self._reader = ConversationReader(
            self._mirror,
            since,
            self._start.agent_session,
            lambda provider, model: self._windows.get((provider, model)),
        )
        self._requests = Requests(self._mirror, self._reply, self._reader.call)

    def prepare(self) -> Launch:
        port, password = _free_port(), secrets.token_urlsafe(24)
        self._api = OpenCodeApi(self._reactor, port, password)
        environ = {**self._start.environ, "OPENCODE_SERVER_PASSWORD": password}
        environ.pop("OPENCODE_SERVER_USERNAME", None)
        if (config := _with_servers(environ.get(CONFIG), self._start.mcp_servers)) is not None:
            environ[CONFIG] = config
        return Launch(_words(self._start, port), environ)

    def started(self, pid: int) -> None:
        self._watching = run_in_background(
            self._watch(), self.log, "Watching OpenCode's own program failed"
        )

    async def stop(self) -> None:
        lost_at, now = self._lost_at, self._reactor.seconds()
        self._ended = True
        if self._watching is not None and self._api is not None:
            late = self._reactor.callLater(LAST_EVENTS_TIMEOUT, self._api.close)
            await self._watching
            if late.active():
                late.cancel()
            limit = LAST_EVENTS_TIMEOUT if self._was_open else START_TIMEOUT
            is_behind = lost_at is not None and now - lost_at > limit
        else:
            is_behind = self._start.checkpoint is not None
        if is_behind and self._reader.session is not None:
            await self._read_export(self._reader.session)
        self._requests.finish()
        self._reader.finish()

    def interrupt(self) -> None:
        """Its key has to be typed twice, with a pause between; the server needs no pause."""
        if self._reader.session is not None:
            self._reply(f"/session/{quote(self._reader.session, safe='')}/abort", {})

    # --- the stream of events
    async def _watch(self) -> None:
        assert self._api is not None
        while not self._ended:
            try:
                await self._api.follow(self._received, self._opened)
            except ApiError as problem:
                self.log.debug("OpenCode's server: {reason}", reason=str(problem))
            if self._lost_at is None:
                self._lost_at = self._reactor.seconds()
            if not self._ended:
                await deferLater(self._reactor, RETRY_INTERVAL)

    def _opened(self) -> None:
        self._was_open = True
        self._early = []
        run_in_background(self._catch_up(), self.log, "Reading OpenCode's messages failed")

    async def _catch_up(self) -> None:
        """Read what happened while there was no stream, and then what the stream has told."""
        for attempt in range(READ_ATTEMPTS):
            try:
                await self._read_messages()
            except ApiError as problem:
                self.log.warn("OpenCode's messages were not read: {reason}", reason=str(problem))
                if self._ended or attempt == READ_ATTEMPTS - 1:
                    break
                await deferLater(self._reactor, RETRY_INTERVAL)
            else:
                self._lost_at = None
                break
        early, self._early = self._early or [], None
        for event in early:
            self._received(event)

    async def _read_messages(self) -> None:
        assert self._api is not None
        api, reader = self._api, self._reader
        if not self._windows:
            self._take_windows(await api.get("/config/providers"))
        reader.sessions(await api.get("/session"))
        if reader.session is not None:
            path = f"/session/{quote(reader.session, safe='')}/message?limit={MAX_MESSAGES}"
            reader.messages(await api.get(path))
            reader.status(await api.get("/session/status"))
        self._requests.listed(await api.get("/permission"), await api.get("/question"))

    async def _read_export(self, session: str) -> None:
        """Read the conversation from OpenCode's storage, when its server is gone."""
        start, output = self._start, ProgramOutput()
        words = (start.program, "export", session)
        self._reactor.spawnProcess(output, words[0], words, start.environ, start.directory)
        try:
            content = await output.ended.addTimeout(EXPORT_TIMEOUT, self._reactor)
            exported = mapping(from_json(content.decode(errors="replace")))
        except (TimeoutError, Malformed) as problem:
            output.kill()
            self.log.warn("OpenCode's conversation was not read: {reason}", reason=str(problem))
            return
        self._reader.messages(exported.get("messages"))

    def _take_windows(self, providers: Any) -> None:
        for provider in objects(mapping(providers).get("providers")):
            for name, model in mapping(provider.get("models")).items():
                size = count_or_none(mapping(mapping(model).get("limit")).get("context"))
                if size and (provider_id := text_or_none(provider.get("id"))):
                    self._windows[provider_id, name] = size

    def _received(self, event: Mapping[str, Any]) -> None:
        if self._early is not None:
            self._early.append(event)
            return
        try:
            self._reader.event(event)
            self._requests.event(event)
        except Exception:
            self.log.failure("An event of OpenCode was not understood")
        place = self._reader.place
        if place is not None and place != self._place:
            self._place = place
            self._mirror.checkpoint(place)

    def _reply(self, path: str, body: Mapping[str, Any]) -> None:
        assert self._api is not None
        sending: Coroutine[Any, Any, None] = self._api.post(path, body)
        run_in_background(sending, self.log, "The answer did not reach OpenCode")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _words(start: LocalStart, port: int) -> tuple[str, ...]:
    words = [start.program, "--port", str(port), "--hostname", "127.0.0.1"]
    if start.agent_session is not None:
        words += ["--session", start.agent_session]
    if start.model is not None and "/" in start.model:
        words += ["--model", start.model]
    words += {"plan": ["--agent", "plan"], "yolo": ["--auto"]}.get(start.permission_mode or "", [])
    return (*words, *start.words)


def _with_servers(config: str | None, servers: tuple[Mapping[str, Any], ...]) -> str | None:
    """The settings in `config` with HAPI's own tools; None if there is nothing to add, or if the
    settings cannot be read."""
    if not servers:
        return None
    try:
        found = from_json(config or "{}")
    except Malformed:
        return None
    if not isinstance(found, dict):
        return None
    added = {str(server.get("name")): _server(server) for server in servers}
    return json.dumps({**found, "mcp": {**added, **mapping(found.get("mcp"))}})


def _server(server: Mapping[str, Any]) -> dict[str, Any]:
    """An MCP server as OpenCode's settings have it."""
    if server.get("url"):
        headers = {str(each.get("name")): each.get("value") for each in server.get("headers", ())}
        return {"type": "remote", "url": server["url"], "headers": headers}
    environ = {str(each.get("name")): each.get("value") for each in server.get("env", ())}
    command = [server.get("command"), *server.get("args", ())]
    return {"type": "local", "command": command, "environment": environ}
