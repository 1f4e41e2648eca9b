"""Codex's own program (`codex`), seen through the transcript that it writes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from hapi.protocol.acp.values import mapping, text_or_none
from hapi.protocol.json import Malformed, from_json
from hapi.session.local.codex_transcript import RolloutReader
from hapi.session.local.followed_file import FollowedFile, first_line
from hapi.session.local.interface import Launch, LocalStart, Mirror

POLL_INTERVAL = 0.3  # seconds between two looks at the transcript
# Seconds between two looks at the files that the program has open, which read all of /proc; and
# once there is one that is followed.
SEARCH_INTERVAL, FOUND_INTERVAL = 1.5, 6.0
ASK_DELAY = 2.0  # seconds without a result until a call may wait for a person
MAX_HEAD = 1 << 20  # bytes of the first line


def own_program(reactor: Any, start: LocalStart, mirror: Mirror) -> CodexProgram:
    return CodexProgram(reactor, start, mirror)


@define(eq=False, repr=False)
class CodexProgram:
    """One start of `codex`. Its questions are answered in the terminal alone: the page shows them
    when the transcript tells of them."""

    _reactor: Any
    _start: LocalStart
    _mirror: Mirror
    interrupt_keys: bytes = b"\x1b"
    leave_keys: bytes = b"\x04"
    _sessions: Path = field(init=False)
    _file: FollowedFile | None = None
    _reader: RolloutReader | None = None
    _pid: int = 0
    _searched_at: float | None = None
    _read_at: float = 0.0  # seconds of the clock: the last line
    _known: set[Path] = field(factory=set)  # transcripts of other conversations
    _polls: LoopingCall = field(init=False)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        start = self._start
        self._sessions = codex_home(start.environ) / "sessions"
        self._polls = LoopingCall(self._poll)
        self._polls.clock = self._reactor
        if start.agent_session is None:
            return
        path = transcript_of(self._sessions, start.agent_session)
        if path is None:
            return
        place = mapping(start.checkpoint)
        offset = place.get("offset")
        if place.get("path") == str(path) and isinstance(offset, int):
            self._follow(
                FollowedFile(path, self._sessions, offset), start.agent_session, is_told=True
            )
        else:
            self._follow(
                FollowedFile.at_end(path, self._sessions), start.agent_session, is_told=True
            )

    # --- OwnProgram
    def prepare(self) -> Launch:
        start = self._start
        words = [start.program]
        if start.agent_session is not None:
            # The adapter has left its own choice of who reviews requests with the conversation.
            reviewer = reviewer_of(codex_home(start.environ))
            words += ["resume", start.agent_session, "-c", f"approvals_reviewer={reviewer}"]
        # Else the conversation runs in a server that outlives the program, and the turn with it.
        words.append("--no-daemon")
        if start.model is not None:
            words += ["--model", start.model]
        if start.effort is not None:
            words += ["-c", f"model_reasoning_effort={_quoted(start.effort)}"]
        match start.permission_mode:
            case "read-only":
                words += ["--sandbox", "read-only"]
            case "yolo":
                words.append("--dangerously-bypass-approvals-and-sandbox")
        for server in start.mcp_servers:
            words += _server_words(server)
        return Launch((*words, *start.words), start.environ)

    def started(self, pid: int) -> None:
        self._pid = pid
        self._polls.start(POLL_INTERVAL, now=False)

    async def stop(self) -> None:
        if self._polls.running:
            self._polls.stop()
        while self._read():
            await deferLater(self._reactor, 0)
        if self._reader is not None:
            self._reader.finish()

    # --- the transcript
    def _poll(self) -> None:
        now = self._reactor.seconds()
        interval = SEARCH_INTERVAL if self._file is None else FOUND_INTERVAL
        if self._searched_at is None or now - self._searched_at >= interval:
            self._searched_at = now
            self._search()
        self._read()
        if self._reader is not None and now - self._read_at >= ASK_DELAY:
            self._reader.ask()

    def _search(self) -> None:
        """Look for the conversation that the program has begun, or goes on with."""
        for path in sorted(open_transcripts(self._pid, self._sessions)):
            if path in self._known:
                continue
            head = session_meta(path, self._sessions)
            if head is None:
                continue
            self._known.add(path)
            session = text_or_none(head.get("id"))
            if session is None or not is_persons(head):
                continue
            while self._read():
                pass
            is_copy = bool(head.get("forked_from_id"))
            follow = FollowedFile.at_end if is_copy else FollowedFile
            self._follow(follow(path, self._sessions), session)

    def _follow(self, file: FollowedFile, session: str, is_told: bool = False) -> None:
        if self._reader is not None:
            self._reader.finish()
        self._file, self._reader = file, RolloutReader(self._mirror, session)
        self._known.add(file.path)
        if not is_told:
            self._mirror.agent_session(session)

    def _read(self) -> bool:
        """Read the next piece; whether there is more."""
        file, reader = self._file, self._reader
        if file is None or reader is None:
            return False
        lines = file.read()
        for line in lines:
            try:
                reader.line(line)
            except Exception:
                self.log.failure("A line of Codex's transcript was not understood")
        if lines:
            self._read_at = self._reactor.seconds()
            if not reader.is_busy:
                self._mirror.checkpoint({"path": str(file.path), "offset": file.offset})
        return file.is_behind


def codex_home(environ: Mapping[str, str]) -> Path:
    return Path(
        environ.get("CODEX_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".codex"
    )


def reviewer_of(home: Path) -> str:
    """Who reviews Codex's requests by the settings of the person, as a string in TOML."""
    try:
        found = tomllib.loads((home / "config.toml").read_text()).get("approvals_reviewer")
    except (OSError, ValueError):
        found = None
    return _quoted(found) if isinstance(found, str) else '"user"'


def transcript_of(sessions: Path, session: str) -> Path | None:
    """The transcript of a session, by the name that Codex gives it."""
    if not session or any(each in session for each in "/*?["):
        return None
    try:
        return max(sessions.glob(f"*/*/*/rollout-*-{session}.jsonl"), default=None)
    except OSError:
        return None


def open_transcripts(pid: int, sessions: Path) -> set[Path]:
    """The transcripts that a program has open; the program may be started by a script."""
    found: set[Path] = set()
    try:
        program = psutil.Process(pid)
        for process in (program, *program.children(recursive=True)):
            for file in process.open_files():
                path = Path(file.path)
                if path.name.startswith("rollout-") and path.suffix == ".jsonl":
                    found.add(path)
    except (psutil.Error, OSError):
        pass
    real = sessions.resolve()
    return {path for path in found if path.is_relative_to(real)}


def session_meta(path: Path, sessions: Path) -> Mapping[str, Any] | None:
    """What the first line of a transcript says: None if it is not whole yet, {} if unreadable."""
    line = first_line(path, sessions, MAX_HEAD)
    if line is None:
        return None
    try:
        found = mapping(from_json(line.decode(errors="replace")))
    except Malformed:
        return {}
    return mapping(found.get("payload")) if found.get("type") == "session_meta" else {}


def is_persons(head: Mapping[str, Any]) -> bool:
    """Whether the conversation is the person's own, and not that of a sub-agent or reviewer."""
    return head.get("thread_source") in (None, "user") and isinstance(head.get("source"), str)


def _quoted(text: str) -> str:
    """A string in TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _server_words(server: Mapping[str, Any]) -> list[str]:
    """An MCP server as Codex's options name it."""
    name = str(server.get("name") or "hapi")
    place = f"mcp_servers.{name}"
    if server.get("url"):
        return ["-c", f"{place}.url={_quoted(str(server['url']))}"]
    args = ", ".join(_quoted(str(each)) for each in server.get("args", ()))
    environ = ", ".join(
        f"{_quoted(str(each.get('name')))} = {_quoted(str(each.get('value')))}"
        for each in server.get("env", ())
    )
    words = ["-c", f"{place}.command={_quoted(str(server.get('command')))}"]
    words += ["-c", f"{place}.args=[{args}]", "-c", f"{place}.env={{{environ}}}"]
    return words
