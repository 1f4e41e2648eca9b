"""One conversation of the demo agent: its answers, permission requests, commands and transcript."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from hapi.session.demo.jsonrpc import Json, JsonRpcStream, RpcError
from hapi.session.demo.texts import PLAN, UNASKED, abilities, command_in, pieces

PIECE_INTERVAL = {"swift": 0.01, "thorough": 0.06}  # seconds between two pieces of text
COMMAND_TIMEOUT, MAX_OUTPUT = 20.0, 32_000
MAX_CONVERSATIONS = 100  # conversations; the oldest go first
CONVERSATION_ID = re.compile(r"demo-[0-9a-f]{16}")


class Cancelled(Exception):
    """The user stopped the turn."""


class DemoConversation:
    """One conversation."""

    def __init__(self, stream: JsonRpcStream, session_id: str, cwd: str) -> None:
        self.id, self.cwd, self._stream = session_id, cwd, stream
        self.mode, self.model = "default", "swift"
        self.cancelled, self._wake = threading.Event(), threading.Event()
        self._outcome: Json = {}
        self._always: set[str] = set()
        self._calls = 0
        self.transcript: list[Json] = []
        self._saved = 0  # entries of the transcript that are in its file
        self._save_error: str | None = None  # why the others are not
        self.busy = False

    # --- memory
    def load(self) -> None:
        """Read the transcript. Raises OSError, FileNotFoundError if there is none (any more)."""
        with open(transcript_path(self.id), "rb") as file:
            self.transcript = [entry for entry in map(_read_entry, file) if entry is not None]
        self._saved = len(self.transcript)

    def record(self, role: str, text: str) -> None:
        """Add an entry. What the disk does not take is written with the next entry."""
        self.transcript.append({"role": role, "text": text})
        try:
            self._save()
        except OSError as error:
            self._save_error = error.strerror or str(error)
        else:
            self._save_error = None

    def _save(self) -> None:
        path, flags = transcript_path(self.id), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:  # new, or removed by another agent as one of the oldest
            self._saved = 0
            directory = os.path.dirname(path)
            os.makedirs(directory, mode=0o700, exist_ok=True)
            remove_oldest_transcripts(directory, MAX_CONVERSATIONS)
            descriptor = os.open(path, flags | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            entries = self.transcript[self._saved :]
            rest = memoryview("".join(json.dumps(entry) + "\n" for entry in entries).encode())
            try:
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError:  # a full disk takes a part, which nobody could read
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self._saved = len(self.transcript)

    # --- speaking
    def pause(self, seconds: float) -> None:
        if self.cancelled.wait(seconds):
            raise Cancelled

    def send_text(self, text: str) -> str:
        for piece in pieces(text):
            self._stream.update(
                self.id, "agent_message_chunk", content={"type": "text", "text": piece}
            )
            self.pause(PIECE_INTERVAL[self.model])
        return text

    def send_thought(self, text: str) -> None:
        for piece in pieces(text):
            self._stream.update(
                self.id, "agent_thought_chunk", content={"type": "text", "text": piece}
            )
            self.pause(PIECE_INTERVAL[self.model] / 2)

    def plan(self, done: int, now: str = "in_progress") -> None:
        """Show the plan with its first `done` steps completed; `now`: the state of the next one."""
        states = ["completed"] * done + [now] + ["pending"] * len(PLAN)
        entries = [
            {"content": text, "priority": priority, "status": state}
            for (text, priority), state in zip(PLAN, states, strict=False)
        ]
        self._stream.update(self.id, "plan", entries=entries)

    # --- acting
    def run(self, argv: list[str]) -> tuple[bool, str]:
        """Ask, run, report; returns whether it was run, and a sentence about it."""
        self._calls += 1
        line, call_id = " ".join(argv), f"call-{len(self.transcript)}-{self._calls}"
        call: Json = {
            "toolCallId": call_id,
            "title": f"Shell: {line}",
            "kind": "execute",
            "rawInput": {"command": line},
        }
        self._stream.update(self.id, "tool_call", status="pending", **call)
        if (
            self.mode not in UNASKED
            and argv[0] not in self._always
            and not self._allowed(call, argv[0])
        ):
            self._stream.update(
                self.id,
                "tool_call_update",
                toolCallId=call_id,
                status="failed",
                rawOutput="The user said no.",
            )
            return False, f"Then I leave `{line}` alone."
        self._stream.update(self.id, "tool_call_update", toolCallId=call_id, status="in_progress")
        code, output = self._execute(argv)
        status = "completed" if code == 0 else "failed"
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        self._stream.update(
            self.id, "tool_call_update", toolCallId=call_id, status=status, content=content
        )
        count = len(output.splitlines())
        return (
            True,
            f"`{line}` ended with {code} and wrote {count} line{'' if count == 1 else 's'}.",
        )

    def _allowed(self, call: Json, program: str) -> bool:
        options = [
            {"optionId": "once", "kind": "allow_once", "name": "Allow"},
            {"optionId": "always", "kind": "allow_always", "name": f"Always allow {program}"},
            {"optionId": "no", "kind": "reject_once", "name": "Reject"},
        ]
        self._wake.clear()
        params = {
            "sessionId": self.id,
            "toolCall": {**call, "status": "pending"},
            "options": options,
        }
        self._stream.call("session/request_permission", params, self._permission_answered)
        while not (self._wake.wait(0.5) or self.cancelled.is_set()):
            pass
        outcome = self._outcome
        if self.cancelled.is_set() or outcome.get("outcome") != "selected":
            raise Cancelled
        if outcome.get("optionId") == "always":
            self._always.add(program)
        return outcome.get("optionId") in ("once", "always")

    def _permission_answered(self, message: Json) -> None:
        result = message.get("result")
        outcome = result.get("outcome") if isinstance(result, dict) else None
        self._outcome = outcome if isinstance(outcome, dict) else {}
        self._wake.set()

    def cancel(self) -> None:
        self.cancelled.set()
        self._wake.set()

    def _execute(self, argv: list[str]) -> tuple[int, str]:
        import subprocess

        try:
            child = subprocess.Popen(
                argv,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            return 127, f"{argv[0]}: {error.strerror}"
        deadline = time.monotonic() + COMMAND_TIMEOUT
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(child.stdout.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        while child.poll() is None:
            if self.cancelled.wait(0.01) or time.monotonic() > deadline:
                child.kill()
        reader.join(1.0)
        if self.cancelled.is_set():
            raise Cancelled
        return child.returncode, b"".join(said)[:MAX_OUTPUT].decode(errors="replace").rstrip("\n")

    # --- one turn
    def answer(self, prompt: str) -> None:
        first = not any(entry["role"] == "agent" for entry in self.transcript)
        self.record("user", prompt)
        said: list[str] = []
        try:
            for sentence in self._answer(prompt, first):
                said.append(self.send_text(sentence))
        finally:
            if said:
                self.record("agent", "".join(said))
        if self._save_error is not None:
            self.send_text(
                f"\n\nThis conversation could not be saved ({self._save_error}): "
                "if I am started again, I may not remember all of it."
            )

    def _answer(self, prompt: str, first: bool) -> Iterator[str]:
        words = prompt.strip().lower()
        if re.search(r"\bgo on\b", words) and (unanswered := self._unanswered()) is not None:
            yield from self._answer(unanswered, first)
            return
        argv, why_not = command_in(prompt)
        if re.search(r"\bfail\b", words):
            raise RpcError(-32603, "The demo agent was asked to fail")
        if found := re.search(r"count to (\d{1,4})", words):
            for number in range(1, int(found[1]) + 1):
                yield f"{number} "
                self.pause(0.1)
            return
        if why_not is not None:
            self.send_thought("That is not one of the commands I may run.")
            yield why_not
        elif argv is not None:
            yield from self._with_command(argv)
        elif re.search(r"\bplan\b", words):
            self.send_thought("A plan helps.")
            self.plan(0)
            yield "This is how I would go about it. In plan mode I would stop here."
        elif re.search(r"\bmode\b", words):
            yield f"I am in the mode `{self.mode}`, with the model `{self.model}`."
        elif re.search(r"\b(said|say|remember|history)\b", words):
            earlier = [entry["text"] for entry in self.transcript[:-1] if entry["role"] == "user"]
            yield (
                "You said: " + "; ".join(f"“{text}”" for text in earlier) + "."
                if earlier
                else "You said nothing before."
            )
        elif first or re.search(r"\b(tour|show|everything)\b", words):
            yield from self._tour()
        else:
            self.send_thought("Nothing to do but answer.")
            last_line = prompt.strip().splitlines()[-1] if prompt.strip() else "nothing"
            yield f"You said: {last_line}\n\n"
            yield abilities(self.mode)

    def _unanswered(self) -> str | None:
        """The prompt before this one, if its answer was cut off."""
        before = self.transcript[-2:-1]
        return before[0]["text"] if before and before[0]["role"] == "user" else None

    def _tour(self) -> Iterator[str]:
        self.send_thought("Somebody new. I show a thought, a plan, a question and a command.")
        yield "Hello! I am the demo agent of HAPI. "
        yield "First comes a plan, then I ask you before I list this directory.\n\n"
        self.plan(0)
        if self.mode == "plan":
            yield "In plan mode I only plan. "
        else:
            yield from self._with_command(["ls", "-a"])
        yield "\n\n" + abilities(self.mode)

    def _with_command(self, argv: list[str]) -> Iterator[str]:
        if self.mode == "plan":
            self.plan(0)
            yield f"In plan mode I run nothing. Otherwise I would run `{' '.join(argv)}`. "
            return
        self.send_thought("A command is wanted; I ask before I run it.")
        self.plan(1)
        was_run, said = self.run(argv)
        self.plan(
            len(PLAN) if was_run else len(PLAN) - 1, "pending"
        )  # nobody ticks off what was not allowed
        yield said


def _read_entry(line: bytes) -> Json | None:
    """The entry of a transcript's line, None if the line is torn."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_entry = isinstance(entry, dict) and isinstance(entry.get("text"), str) and "role" in entry
    return entry if is_entry else None


def transcript_path(session_id: str) -> str:
    """The transcript's path, below HAPI_HOME or else in the user's state directory."""
    home = os.environ.get("HAPI_HOME")
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    directory = os.path.join(home, "demo") if home else os.path.join(state, "hapi", "demo")
    return os.path.join(directory, f"{session_id}.jsonl")


def remove_oldest_transcripts(directory: str, kept: int) -> None:
    """Remove all transcripts but the newest `kept` ones. Other agents may do so at the same time.

    Raises OSError if the directory cannot be read.
    """
    found: list[tuple[float, str]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if CONVERSATION_ID.match(entry.name):
                with suppress(OSError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    for _, path in sorted(found)[: max(0, len(found) - kept)]:
        with suppress(OSError):
            os.unlink(path)
