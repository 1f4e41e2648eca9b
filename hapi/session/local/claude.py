"""Claude Code in the terminal: how it is started, its hooks, and its transcript.

Hooks tell when a turn begins and ends, what waits for a permission, and which transcript is
written; the conversation itself is in the transcript. Seen with Claude Code 2.1.197.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from hapi.home import PRIVATE_FILE_MODE, write_atomically
from hapi.protocol.acp.prompts import Usage
from hapi.protocol.mcp.tools import TOOLS, is_harmless_tool
from hapi.session.local.claude_permissions import ClaudePermissions
from hapi.session.local.claude_transcript import (
    Entry,
    Interrupted,
    Line,
    Printed,
    Titled,
    TurnDuration,
    Typed,
    projects_directory,
    read_entry,
    transcript_path,
    usage_of,
)
from hapi.session.local.followed_file import FollowedFile, is_below
from hapi.session.local.hooks import HookCall, HookServer
from hapi.session.local.interface import Launch, LocalStart, Mirror

HOOKS = (
    *("SessionStart", "UserPromptSubmit", "PreToolUse", "PermissionRequest", "PostToolUse"),
    *("PostToolUseFailure", "Notification", "Stop", "StopFailure", "SessionEnd"),
)
HOOK_TIMEOUT = 24 * 3600  # seconds that a permission may wait for a person
POLL_INTERVAL = 0.3  # seconds between two looks at the transcript
STOP_DELAY = 1.0  # seconds after the hook `Stop` in which the end of the turn has to be written
# What its terminal's title begins with while it waits for a prompt. A turn that was stopped before
# anything was said leaves no other trace.
IDLE_TITLE = "\N{EIGHT SPOKED ASTERISK}"
IDLE_DELAY = 3.0  # seconds for which it has to stand there
MODEL_CHOSEN = "Set model to"  # what `/model` puts out
MAX_KNOWN_KEYS = 10_000  # of lines; a transcript that was cut short is read again


def own_program(reactor: Any, start: LocalStart, mirror: Mirror) -> ClaudeProgram:
    return ClaudeProgram(reactor, start, mirror)


@define(eq=False, repr=False)
class ClaudeProgram:
    """One start of `claude`."""

    _reactor: Any
    _start: LocalStart
    _mirror: Mirror
    interrupt_keys: bytes = b"\x1b"
    leave_keys: bytes = b""
    _hooks: HookServer = field(init=False)
    _permissions: ClaudePermissions = field(init=False)
    _projects: Path = field(init=False)
    _file: FollowedFile | None = None
    _session: str | None = None
    _polls: LoopingCall = field(init=False)
    _known: dict[str, None] = field(factory=dict)
    _is_thinking: bool = False
    _is_idle: bool = False  # as its terminal's title says
    _turn_end: IDelayedCall | None = None
    _used: dict[str, Usage] = field(factory=dict)  # in this turn, by the id of the message
    _model: str | None = None
    _mode: str | None = None  # of permissions
    log = Logger()

    def __attrs_post_init__(self) -> None:
        start = self._start
        self._hooks = HookServer(self._reactor, start.files, self._called)
        self._permissions = ClaudePermissions(self._reactor, self._mirror)
        self._polls = LoopingCall(self._poll)
        self._polls.clock = self._reactor
        self._projects = projects_directory(start.environ, Path.home())
        place = start.checkpoint
        if isinstance(place, Mapping) and isinstance(place.get("path"), str):
            offset = place.get("offset")
            self._file = FollowedFile(
                Path(place["path"]), self._projects, offset if isinstance(offset, int) else 0
            )
            self._session = place.get("session")
        elif start.agent_session is not None:
            path = transcript_path(self._projects, start.directory, start.agent_session)
            self._file = FollowedFile.at_end(path, self._projects)
            self._session = start.agent_session

    # --- OwnProgram
    def prepare(self) -> Launch:
        self._hooks.listen()
        start = self._start
        settings = start.files / "settings.json"
        write_atomically(settings, json.dumps(self._settings()).encode(), PRIVATE_FILE_MODE, False)
        argv = [start.program]
        if start.mcp_servers:
            allowed = [f"mcp__hapi__{tool.name}" for tool in TOOLS]
            argv += ["--mcp-config", json.dumps(mcp_configuration(start.mcp_servers))]
            argv += ["--allowedTools", ",".join(filter(is_harmless_tool, allowed))]
        for option, value in (
            ("--settings", str(settings)),
            ("--model", start.model),
            ("--effort", start.effort),
            ("--permission-mode", start.permission_mode),
            ("--resume", start.agent_session),
        ):
            if value is not None:
                argv += [option, value]
        return Launch((*argv, *start.words), start.environ)

    def _settings(self) -> dict[str, Any]:
        command = {
            "type": "command",
            "command": self._hooks.command("claude"),
            "timeout": HOOK_TIMEOUT,
        }
        return {"hooks": {name: [{"hooks": [command]}] for name in HOOKS}}

    def started(self, pid: int) -> None:
        self._polls.start(POLL_INTERVAL, now=False)

    def terminal_titled(self, title: str) -> None:
        self._is_idle = title.startswith(IDLE_TITLE)
        if self._is_idle and self._is_thinking and self._turn_end is None:
            self._turn_end = self._reactor.callLater(IDLE_DELAY, self._fell_idle)

    def _fell_idle(self) -> None:
        self._turn_end = None
        self._poll()
        if self._is_idle and self._is_thinking and not self._permissions.is_waiting:
            self._end_turn()
            self._mirror.status("Stopped in the terminal")

    async def stop(self) -> None:
        if self._polls.running:
            self._polls.stop()
        self._hooks.close()
        while self._read():
            await deferLater(self._reactor, 0)
        self._end_turn()
        self._permissions.end()

    # --- hooks
    def _called(self, call: HookCall) -> None:
        told = call.told
        name = told.get("hook_event_name")
        if name != "PermissionRequest":
            call.reply()
        if isinstance(mode := told.get("permission_mode"), str) and mode != self._mode:
            self._mode = mode
            self._mirror.permission_mode(mode)
        match name:
            case "SessionStart":
                self._session_started(told)
            case "UserPromptSubmit":
                self._poll()  # the end of an interrupted turn is in the transcript only
                self._begin_turn()
            case "PreToolUse":
                self._begin_turn()
            case "Stop" | "StopFailure":
                self._turn_may_end(STOP_DELAY)
            case "Notification" if told.get("notification_type") == "idle_prompt":
                self._turn_may_end(0)
            case "SessionEnd":
                self._poll()
                self._end_turn()
        self._permissions.called(call, name)

    def _session_started(self, told: Mapping[str, Any]) -> None:
        session, path = told.get("session_id"), told.get("transcript_path")
        if not isinstance(session, str) or not isinstance(path, str):
            return
        if not is_below(Path(path), self._projects):
            self.log.warn("{path} is not below {projects}", path=path, projects=self._projects)
            return
        if self._file is None or self._file.path != Path(path):
            while self._read():  # the rest of the one before
                pass
            is_new = told.get("source") in ("startup", "clear")
            follow = FollowedFile if is_new else FollowedFile.at_end
            self._file = follow(Path(path), self._projects)
        self._end_turn()
        self._session = session
        self._mirror.agent_session(session)
        self._checkpoint()

    def _begin_turn(self) -> None:
        self._cancel_end()
        if not self._is_thinking:
            self._is_thinking = True
            self._used.clear()
            self._mirror.thinking(True)

    def _turn_may_end(self, delay: float) -> None:
        self._cancel_end()
        self._poll()
        if self._is_thinking:
            self._turn_end = self._reactor.callLater(delay, self._stopped)

    def _stopped(self) -> None:
        self._turn_end = None
        self._poll()
        self._end_turn()

    def _cancel_end(self) -> None:
        if self._turn_end is not None:
            self._turn_end.cancel()
            self._turn_end = None

    def _end_turn(self) -> None:
        self._cancel_end()
        if self._is_thinking:
            self._is_thinking = False
            used = None
            if self._used:
                totals = tuple(self._used.values())
                used = Usage(sum(one.input for one in totals), sum(one.output for one in totals))
            self._mirror.usage(used, self._model, None)
            self._mirror.thinking(False)

    # --- the transcript
    def _poll(self) -> None:
        if self._read():
            self._reactor.callLater(0, self._poll)

    def _read(self) -> bool:
        """Report the next lines; whether there are more."""
        file = self._file
        if file is None:
            return False
        lines = file.read()
        for line in lines:
            try:
                entry = read_entry(line)
                if entry is not None and self._is_news(entry.key):
                    self._report(entry)
            except Exception:
                self.log.failure("A line of the transcript could not be used")
        if lines:
            self._checkpoint()
        return file.is_behind

    def _checkpoint(self) -> None:
        if self._file is not None:
            place = {"path": str(self._file.path), "offset": self._file.offset}
            self._mirror.checkpoint({"session": self._session, **place})

    def _is_news(self, key: str) -> bool:
        if not key:
            return True
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > MAX_KNOWN_KEYS:
            del self._known[next(iter(self._known))]
        return True

    def _report(self, entry: Entry) -> None:
        mirror = self._mirror
        for part in entry.parts:
            match part:
                case Line(data):
                    self._permissions.line(data)
                    self._count(data)
                    mirror.output(data, entry.at, entry.key)
                case Typed(text):
                    mirror.prompt(text, entry.at, entry.key)
                case Printed(text):
                    if text.startswith(MODEL_CHOSEN):
                        mirror.model_chosen()
                    mirror.record(
                        {"type": "message", "message": text, "id": entry.key}, entry.at, entry.key
                    )
                case Interrupted():
                    self._permissions.interrupted()
                    self._end_turn()
                    mirror.status("Stopped in the terminal", entry.at)
                case TurnDuration(data):
                    if data is not None:
                        mirror.output(data, entry.at, entry.key)
                    if self._turn_end is not None:
                        self._end_turn()
                case Titled(title):
                    mirror.title(title)

    def _count(self, data: Mapping[str, Any]) -> None:
        if (found := usage_of(data)) is not None:
            name, used, _ = found
            self._used[name] = used
            self._model = data["message"].get("model")


def mcp_configuration(servers: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """`--mcp-config` of servers as ACP names them."""
    return {
        "mcpServers": {
            server["name"]: {
                "type": "stdio",
                "command": server["command"],
                "args": server["args"],
                "env": {each["name"]: each["value"] for each in server["env"]},
            }
            for server in servers
        }
    }
