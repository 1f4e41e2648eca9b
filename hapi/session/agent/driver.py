"""The driver of one agent over ACP: opens or resumes its session, prompts, cancels, configures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi import __version__
from hapi.protocol.acp.authentication import AUTH_REQUIRED, LEGACY_TERMINAL, AuthMethod
from hapi.protocol.acp.authentication import CAPABILITY as TERMINAL_LOGIN
from hapi.protocol.acp.elicitation import CAPABILITY as ELICITATION
from hapi.protocol.acp.introduction import (
    PROTOCOL_VERSION,
    AgentIntroduction,
    read_introduction,
)
from hapi.protocol.acp.notices import read_notice
from hapi.protocol.acp.offers import Offer, Select, read_offer, setting_call
from hapi.protocol.acp.permission_requests import PermissionRequest, read_permission_request
from hapi.protocol.acp.prompts import PromptCapabilities, Usage, read_usage
from hapi.protocol.acp.updates import (
    Commands,
    Context,
    ModeChanged,
    OptionsChanged,
    Update,
    UserText,
    read_update,
)
from hapi.protocol.json import Malformed
from hapi.session.agent.authentication import (
    AgentSessionError,
    Credentials,
    LoginRequired,
    authenticated,
)
from hapi.session.agent.change_comparison import compare_changes
from hapi.session.agent.jsonrpc_peer import AgentError, AgentExited, AgentTimeout, JsonRpcPeer
from hapi.session.agent.questions import Questions

__all__ = [
    "AgentError",
    "AgentExited",
    "AgentSessionError",
    "AgentTimeout",
    "Driver",
    "LoginRequired",
    "TurnEnd",
]

INITIALIZE_TIMEOUT, OPEN_TIMEOUT, SET_TIMEOUT = (
    60.0,
    120.0,
    30.0,
)  # seconds; agents load models, servers and plugins meanwhile
REPLAY_QUIET = 0.5  # seconds without a message after which a late replay has ended
REPLAY_TIMEOUT = 10.0  # seconds that a prompt waits for the end of a replay
CLIENT = {"name": "hapi", "title": "HAPI", "version": __version__}
# The agent reads, writes and runs terminals itself: it runs on this machine as this user.
CAPABILITIES = {
    "fs": {"readTextFile": False, "writeTextFile": False},
    "terminal": False,
    "elicitation": ELICITATION,
    "auth": TERMINAL_LOGIN,
    "_meta": {
        "qwen.askUserQuestion": True,  # Qwen Code: several questions in one request
        LEGACY_TERMINAL: True,
    },
}


@frozen
class TurnEnd:
    """How a turn ended.

    `stop`: end_turn, cancelled, max_tokens, max_turn_requests or refusal.
    """

    stop: str
    usage: Usage | None


@define(eq=False, repr=False)
class Driver:
    """One agent session.

    `updated` is called with each update; `request_permission` returns the ACP answer to a
    permission request.
    """

    peer: JsonRpcPeer
    _updated: Callable[[Update], object]
    _request_permission: Callable[[PermissionRequest], Awaitable[Any]]
    questions: Questions | None = None
    credentials: Credentials = field(factory=Credentials)
    mcp_servers: Sequence[Mapping[str, Any]] = ()  # for the agent, as ACP names them
    session_id: str | None = None
    introduction: AgentIntroduction | None = None
    offer: Offer = field(factory=Offer)
    initial: Offer = field(factory=Offer)  # what was current when the session was opened
    resumed: bool = False
    _replaying: bool = False
    _may_replay: bool = False  # from session/load to the first prompt
    _has_replayed: bool = False  # before it answered session/load
    _replayed_at: float = 0.0  # seconds of the clock: the last message of a replay, or the answer
    _is_cancelled: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.peer.handlers["session/request_permission"] = self._permission
        if self.questions is not None:
            self.peer.handlers["elicitation/create"] = self.questions.elicit
        self.peer.on_notification = self._notified
        self.peer.prepare = compare_changes

    async def open(self, cwd: str, resume: str | None, fork: bool = False) -> None:
        """Open a session in `cwd`: a new one, the agent's own session `resume`, or a copy of it
        (`fork`).

        Sets `session_id`, `resumed` and `offer`. Raises AgentExited, AgentTimeout,
        AgentSessionError, and of these LoginRequired if a person has to log in.
        """
        words = {
            "protocolVersion": PROTOCOL_VERSION,
            "clientCapabilities": CAPABILITIES,
            "clientInfo": CLIENT,
        }
        try:
            self.introduction = read_introduction(
                await self.peer.call("initialize", words, INITIALIZE_TIMEOUT)
            )
        except (Malformed, AgentError) as problem:
            raise AgentSessionError(str(problem)) from problem
        place = {"cwd": cwd, "mcpServers": list(self.mcp_servers)}
        if fork and resume is not None and not self.introduction.forks_sessions:
            raise AgentSessionError("the agent cannot copy a session (fork)")
        if (
            not fork
            and resume is not None
            and self.introduction.loads_sessions
            and await self._load(place, resume)
        ):
            return
        try:
            if fork and resume is not None:
                opened = await self._fork(place, resume)
            else:
                opened = await self._call_authenticated("session/new", place)
        except AgentError as problem:
            raise AgentSessionError(str(problem)) from problem
        session_id = opened.get("sessionId") if isinstance(opened, dict) else None
        if not isinstance(session_id, str) or not session_id:
            raise AgentSessionError("the agent's answer to session/new has no session id")
        self._opened(session_id, opened)

    async def _load(self, place: Mapping[str, Any], resume: str) -> bool:
        """Resume. What the agent replays is in the conversation already and is ignored."""
        self._replaying, self._has_replayed = True, False
        try:
            loaded = await self._call_authenticated("session/load", {"sessionId": resume, **place})
        except AgentError as problem:
            self.log.warn(
                "The agent cannot resume {agent_session}: {reason}",
                agent_session=resume,
                reason=str(problem),
            )
            return False
        finally:
            self._replaying = False
        self.resumed = self._may_replay = True
        self._replayed_at = self.peer.clock.seconds()
        self._opened(resume, loaded)
        return True

    async def _fork(self, place: Mapping[str, Any], resume: str) -> Any:
        """Copy a session. Some agents copy only a session that they have loaded.

        Raises AgentError.
        """
        params = {"sessionId": resume, **place}
        try:
            return await self._call_authenticated("session/fork", params)
        except AgentError:
            found = self.introduction
            if found is None or not found.loads_sessions or not await self._load(place, resume):
                raise
        self.resumed = False
        return await self._call_authenticated("session/fork", params)

    async def _call_open(self, method: str, params: Mapping[str, Any]) -> Any:
        """Call a method that opens a session, again without MCP servers if it fails with them:
        an agent that cannot have them is better than none. Raises AgentError."""
        try:
            return await self.peer.call(method, params, OPEN_TIMEOUT)
        except AgentError as problem:
            if problem.code == AUTH_REQUIRED or not params["mcpServers"]:
                raise
            self.log.warn(
                "{method} failed and is tried again without HAPI's tools: {reason}",
                method=method,
                reason=str(problem),
            )
        return await self.peer.call(method, {**params, "mcpServers": []}, OPEN_TIMEOUT)

    def _opened(self, session_id: str, value: Any) -> None:
        self.session_id = session_id
        self.offer = self.initial = read_offer(value)

    async def _call_authenticated(self, method: str, params: Mapping[str, Any]) -> Any:
        return await authenticated(
            self.peer,
            self.auth_methods,
            self.credentials,
            lambda: self._call_open(method, params),
        )

    @property
    def auth_methods(self) -> tuple[AuthMethod, ...]:
        return self.introduction.auth_methods if self.introduction is not None else ()

    @property
    def prompt_capabilities(self) -> PromptCapabilities:
        found = self.introduction
        return found.prompts if found is not None else PromptCapabilities()

    async def prompt(self, blocks: list[dict[str, Any]]) -> TurnEnd:
        """Run one turn, without a time limit. Raises AgentExited, AgentError."""
        self._is_cancelled = False
        await self._replay_ended()
        if self._is_cancelled:
            return TurnEnd("cancelled", None)
        self._replaying = self._may_replay = False
        answer = await self.peer.call(
            "session/prompt", {"sessionId": self.session_id, "prompt": blocks}
        )
        stop = answer.get("stopReason") if isinstance(answer, dict) else None
        return TurnEnd(stop if isinstance(stop, str) else "end_turn", read_usage(answer))

    async def _replay_ended(self) -> None:
        """Wait until an agent that replays only after it has answered session/load (Gemini) has
        done so, since what it says after a prompt counts as its answer."""
        if not self._may_replay or self._has_replayed:
            return
        clock = self.peer.clock
        latest = clock.seconds() + REPLAY_TIMEOUT
        while (left := min(self._replayed_at + REPLAY_QUIET, latest) - clock.seconds()) > 0:
            await deferLater(clock, left)

    def cancel(self) -> None:
        """Cancel the turn; `prompt` then ends with `cancelled`."""
        self._is_cancelled = True
        if self.session_id is not None:
            self.peer.notify("session/cancel", {"sessionId": self.session_id})

    def select(self, part: str) -> Select | None:
        """What the agent offers for `part`, see `Offer.select`."""
        return self.offer.select(part)

    async def set(self, part: str, value: str) -> None:
        """Set a part of the offer: mode, model, effort or another one.

        Raises AgentSessionError if there is no choice, and AgentError, AgentExited, AgentTimeout.
        """
        select = self.select(part)
        if select is None or self.session_id is None:
            raise AgentSessionError(f"the agent offers no choice of {part}")
        if select.current == value:
            return
        method, params = setting_call(self.session_id, part, select, value)
        self._apply_setting(await self.peer.call(method, params, SET_TIMEOUT), part, value)

    def _apply_setting(self, answer: Any, part: str, value: str) -> None:
        self.offer = read_offer(answer, self.offer.with_current(part, value))

    # --- messages of the agent
    def _notified(self, method: str, params: Mapping[str, Any]) -> object:
        """Handle a notification. The next message waits for a Deferred that this returns."""
        if method == "elicitation/complete" and self.questions is not None:
            self.questions.completed(params)
        update: Update | None = read_update(params) if method == "session/update" else None
        if update is None:
            update = read_notice(method, params)
        if isinstance(update, OptionsChanged):
            self.offer = read_offer(update.value, self.offer)
        if self._may_replay and isinstance(update, UserText):
            self._replaying = True  # some agents answer session/load before they replay
        if self._replaying:
            self._has_replayed |= not self._may_replay and isinstance(update, UserText)
            self._replayed_at = self.peer.clock.seconds()
        if update is not None and (
            not self._replaying or isinstance(update, Commands | Context | OptionsChanged)
        ):
            if isinstance(update, ModeChanged):
                self._apply_setting({}, "mode", update.mode)
            return self._updated(update)
        return None

    async def _permission(self, params: Mapping[str, Any]) -> Any:
        return await self._request_permission(read_permission_request(params))
