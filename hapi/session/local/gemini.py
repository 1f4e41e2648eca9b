"""Gemini's own program (`gemini`), seen through the record that it keeps of its conversation."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from attrs import define, field
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from hapi.protocol.acp.values import mapping, text_or_none
from hapi.protocol.json import Malformed, from_json
from hapi.session.local.followed_file import FollowedFile, first_line
from hapi.session.local.gemini_transcript import ChatReader
from hapi.session.local.interface import Launch, LocalStart, Mirror

POLL_INTERVAL = 0.3  # seconds between two looks at the file
SEARCH_INTERVAL = 1.5  # seconds between two looks for another file
TURN_TIMEOUT = 4.0  # seconds without a line after which a turn has probably ended
MINUTE = "%Y-%m-%dT%H-%M"  # in the names of files, UTC
MAX_HEAD = 1 << 20  # bytes of the first line
MODES = {"yolo": "yolo", "acceptEdits": "auto_edit", "plan": "plan", "default": "default"}


def own_program(reactor: Any, start: LocalStart, mirror: Mirror) -> GeminiProgram:
    return GeminiProgram(reactor, start, mirror)


@define(eq=False, repr=False)
class GeminiProgram:
    """One start of `gemini`. What it asks is answered in the terminal alone: its file does not tell
    of it before it is answered."""

    _reactor: Any
    _start: LocalStart
    _mirror: Mirror
    interrupt_keys: bytes = b"\x1b"
    leave_keys: bytes = b""
    _session: str = field(init=False)
    _projects: Path = field(init=False)
    _file: FollowedFile | None = None
    _reader: ChatReader = field(init=False)
    _pid: int = 0
    _began: float = field(factory=time.time)  # seconds since the epoch
    _searched_at: float | None = None
    _read_at: float = 0.0  # seconds of the clock: the last line
    _known: set[Path] = field(factory=set)  # files of other conversations
    _polls: LoopingCall = field(init=False)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        start = self._start
        self._projects = gemini_home(start.environ) / "tmp"
        self._session = start.agent_session or str(uuid.uuid4())
        self._reader = ChatReader(self._mirror)
        self._polls = LoopingCall(self._poll)
        self._polls.clock = self._reactor
        path = chat_of(self._projects, self._session)
        if path is not None:
            place = mapping(start.checkpoint)
            offset = place.get("offset")
            if place.get("path") == str(path) and isinstance(offset, int):
                self._file = FollowedFile(path, self._projects, offset)
            else:
                self._file = FollowedFile.at_end(path, self._projects)
            self._known.add(path)

    # --- OwnProgram
    def prepare(self) -> Launch:
        start = self._start
        option = "--session-id" if start.agent_session is None else "--resume"
        words = [start.program, option, self._session]
        if start.model is not None:
            words += ["--model", start.model]
        if (mode := MODES.get(start.permission_mode or "")) is not None:
            words += ["--approval-mode", mode]
        return Launch((*words, *start.words), start.environ)

    def started(self, pid: int) -> None:
        self._pid = pid
        self._polls.start(POLL_INTERVAL, now=False)

    async def stop(self) -> None:
        if self._polls.running:
            self._polls.stop()
        self._search()
        while self._read():
            await deferLater(self._reactor, 0)
        self._reader.finish()
        if self._file is not None:
            make_loadable(self._file.path, time.time())

    # --- the file
    def _poll(self) -> None:
        now = self._reactor.seconds()
        if self._searched_at is None or now - self._searched_at >= SEARCH_INTERVAL:
            self._searched_at = now
            self._search()
        self._read()
        if self._reader.is_busy and now - self._read_at >= TURN_TIMEOUT:
            self._reader.end_turn()
            self._tell_place()

    def _search(self) -> None:
        """Look for the file of the conversation, and for that of another one after `/clear`."""
        if self._file is None:
            path = chat_of(self._projects, self._session)
            if path is not None:
                self._file = FollowedFile(path, self._projects)
                self._known.add(path)
                self._mirror.agent_session(self._session)
            return
        try:
            found = sorted(self._file.path.parent.glob("session-*.jsonl"))
        except OSError:
            return
        for path in found:
            if path in self._known:
                continue
            head = chat_head(path, self._projects)
            if head is None:
                continue
            self._known.add(path)
            session = text_or_none(head.get("sessionId"))
            if session is None or session == self._session:
                continue
            if is_begun_since(head, self._began) and self._is_alone():
                self._go_on_with(path, session)

    def _is_alone(self) -> bool:
        """Whether no other Gemini runs in this directory, which could have written a file."""
        try:
            program = psutil.Process(self._pid)
            own = {self._pid, *(each.pid for each in program.children(recursive=True))}
        except psutil.Error:
            return False
        return not any(
            _is_gemini(process, self._start.directory)
            for process in psutil.process_iter()
            if process.pid not in own
        )

    def _go_on_with(self, path: Path, session: str) -> None:
        while self._read():
            pass
        self._reader.finish()
        self._file, self._session, self._reader = (
            FollowedFile(path, self._projects),
            session,
            ChatReader(self._mirror),
        )
        self._mirror.agent_session(session)

    def _read(self) -> bool:
        """Read the next piece; whether there is more."""
        if self._file is None:
            return False
        lines = self._file.read()
        for line in lines:
            try:
                self._reader.line(line)
            except Exception:
                self.log.failure("A line of Gemini's conversation was not understood")
        if lines:
            self._read_at = self._reactor.seconds()
            if not self._reader.is_busy:
                self._tell_place()
        return self._file.is_behind

    def _tell_place(self) -> None:
        if self._file is not None:
            self._mirror.checkpoint({"path": str(self._file.path), "offset": self._file.offset})


def _is_gemini(process: psutil.Process, directory: str) -> bool:
    try:
        words = process.cmdline()
        is_it = any(word.rsplit("/", 1)[-1] in ("gemini", "gemini.js") for word in words[:4])
        return is_it and process.cwd() == directory
    except psutil.Error:
        return False


def gemini_home(environ: Mapping[str, str]) -> Path:
    home = environ.get("GEMINI_CLI_HOME") or environ.get("HOME") or "~"
    return Path(home).expanduser() / ".gemini"


def chat_of(projects: Path, session: str) -> Path | None:
    """The file of a conversation, by the name that Gemini gives it and the id in its first line."""
    begin = session[:8]
    if len(begin) < 8 or any(each in begin for each in "/*?[."):
        return None
    try:
        # Where it was resumed over ACP there may be another, empty one.
        sizes = {
            path: path.stat().st_size for path in projects.glob(f"*/chats/session-*-{begin}.jsonl")
        }
    except OSError:
        return None
    for path in sorted(sizes, key=lambda path: -sizes[path]):
        head = chat_head(path, projects)
        if head is not None and head.get("sessionId") == session:
            return path
    return None


def make_loadable(path: Path, now: float) -> None:
    """Name the file as if it had begun a minute earlier, if it is one of this minute.

    Gemini's ACP server (0.61.0) begins a file for a session that it shall load before it reads the
    one there is. Its names have the minute and the session: in the same minute it is the same file,
    whose conversation is lost.
    """
    minute = time.strftime(MINUTE, time.gmtime(now))
    if not path.name.startswith(f"session-{minute}-"):
        return
    earlier = time.strftime(MINUTE, time.gmtime(now - 60))
    other = path.with_name(path.name.replace(minute, earlier, 1))
    with suppress(OSError):
        if not other.exists():
            path.rename(other)


def chat_head(path: Path, projects: Path) -> Mapping[str, Any] | None:
    """What the first line of a file says: None if it is not whole yet, {} if unreadable."""
    line = first_line(path, projects, MAX_HEAD)
    if line is None:
        return None
    try:
        return mapping(from_json(line.decode(errors="replace")))
    except Malformed:
        return {}


def is_begun_since(head: Mapping[str, Any], moment: float) -> bool:
    """Whether it is the head of a person's conversation that began after `moment`."""
    started = head.get("startTime")
    try:
        began = datetime.fromisoformat(started).timestamp() if isinstance(started, str) else 0.0
    except (ValueError, OverflowError):
        return False
    return head.get("kind") == "main" and began >= moment
