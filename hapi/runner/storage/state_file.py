"""`runner.state.json`: what npm's CLI, session processes and our own CLI read to find and judge this runner (runner.md §10)."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from attrs import define, field
from msgspec import Meta, Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.home import PRIVATE_FILE_MODE, Home, read_capped, write_atomically
from hapi.protocol.machine import COMPATIBLE_VERSION
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.settings import HubAccess


class RunnerState(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The part that decides something. The keys are npm's; `version`, `handoffDisabled` and `controlToken` are ours."""

    pid: Annotated[int, Meta(gt=0)]
    http_port: Annotated[int, Meta(gt=0, lt=65536)]
    start_time: str = ""
    shared_codex_runtime: bool = False
    started_with_cli_version: str | None = None
    started_with_api_url: str | None = None
    started_with_machine_id: str | None = None
    started_with_cli_api_token_hash: str | None = None
    started_with_extra_headers_hash: str | None = None
    started_with_argv: tuple[str, ...] = ()
    started_with_version_handoff_disabled: bool = False
    last_heartbeat: str | None = None
    runner_log_path: str | None = None
    version: str | None = None
    handoff_disabled: bool = False
    control_token: str | None = None


def hub_identity(access: HubAccess, machine_id: str) -> dict[str, Any]:
    """The fields by which an npm program decides whether this runner is the one it wants."""
    found = {
        "started_with_api_url": access.url,
        "started_with_machine_id": machine_id,
        "started_with_cli_api_token_hash": hashlib.sha256(
            access.token.strip().encode()
        ).hexdigest(),
    }
    if access.headers:
        listed = json.dumps(
            sorted([name, value] for name, value in access.headers.items()),
            separators=(",", ":"),
            ensure_ascii=False,
        )
        found["started_with_extra_headers_hash"] = hashlib.sha256(listed.encode()).hexdigest()
    return found


def identity_digest(access: HubAccess, machine_id: str) -> str:
    """The identity at the hub, comparable and telling nothing: hub, machine, hashes of token and headers."""
    return hashlib.sha256(
        json.dumps(hub_identity(access, machine_id), sort_keys=True).encode()
    ).hexdigest()[:32]


def npm_timestamp(now: float) -> str:
    """A moment (epoch seconds) in the form of npm's state file, `11/20/2026, 11:22:00 AM`: for people only."""
    at = time.localtime(now)
    clock = (
        f"{at.tm_hour % 12 or 12}:{at.tm_min:02}:{at.tm_sec:02} {'AM' if at.tm_hour < 12 else 'PM'}"
    )
    return f"{at.tm_mon}/{at.tm_mday}/{at.tm_year}, {clock}"


def own_runner_state(
    *,
    access: HubAccess,
    machine_id: str,
    port: int,
    argv: Sequence[str],
    now: float,
    version: str,
    token: str | None = None,
    log_path: str | None = None,
    handoff_disabled: bool = False,
    pid: int | None = None,
) -> RunnerState:
    """The state of a runner that starts now.

    The version hand-off of npm's programs is always off: they compare the modification time of *their* program with ours,
    and would stop a runner that is not theirs. Ours has a hand-off of its own, by version and content; whether that one is off
    stands in `handoffDisabled`.
    """
    return RunnerState(
        pid=os.getpid() if pid is None else pid,
        http_port=port,
        start_time=npm_timestamp(now),
        shared_codex_runtime=True,
        started_with_cli_version=COMPATIBLE_VERSION,
        started_with_argv=tuple(argv),
        started_with_version_handoff_disabled=True,
        runner_log_path=log_path,
        version=version,
        handoff_disabled=handoff_disabled,
        control_token=token,
        **hub_identity(access, machine_id),
    )


@define
class StateFile:
    """Read, written whole, and removed only while it is ours."""

    _home: Home
    trouble: str | None = None  # why the last write failed
    _removed: bool = False
    log = Logger()

    @property
    def path(self) -> Path:
        return self._home.runner_state

    def read(self) -> RunnerState | None:
        """What the file says; None when there is none or it cannot be read. Nothing is logged: anybody may look."""
        try:
            content = read_capped(self.path)
            return None if content is None else msgspec.json.decode(content, type=RunnerState)
        except (OSError, ValueError, RecursionError):
            return None

    def set_aside_if_broken(self, now: float) -> Path | None:
        """Before the first write: a file that cannot be read is kept under another name. The lock alone decides who runs."""
        if self.read() is not None or not os.path.lexists(self.path):
            return None
        aside = self.path.with_name(f"{self.path.name}.corrupt-{int(now)}")
        try:
            os.rename(self.path, aside)
        except OSError as error:
            self.log.warn(
                "{path} is broken and could not be set aside: {reason}",
                path=str(self.path),
                reason=str(error),
            )
            return None
        with suppress(OSError):
            if aside.is_file() and not aside.is_symlink():
                aside.chmod(PRIVATE_FILE_MODE)
        self.log.warn("{path} was broken and is now {aside}", path=str(self.path), aside=str(aside))
        return aside

    def write(self, state: RunnerState) -> bool:
        """Put `state` in place; False when the disk refused. Told once for each change of the condition."""
        try:
            write_atomically(self.path, _in_json(state))
        except OSError as error:
            return self._refused(error)
        return self._saved()

    async def save(self, state: RunnerState, disk: Disk) -> bool:
        """The same when it is its turn."""
        content = _in_json(state)
        try:
            await disk.do(lambda: self._put(content, state.pid))
        except OSError as error:
            return self._refused(error)
        return self._saved()

    def _put(self, content: bytes, pid: int) -> None:
        if not self._removed:
            write_atomically(self.path, content)
        if self._removed:  # meanwhile: a disk this slow, and a runner that has left
            self.remove_if(pid)

    def _refused(self, error: OSError) -> bool:
        trouble = f"{self.path} was not saved: {error.strerror or error}"
        if trouble != self.trouble:
            self.log.error("{trouble}", trouble=trouble)
        self.trouble = trouble
        return False

    def _saved(self) -> bool:
        if self.trouble:
            self.log.info("{path} is saved again", path=str(self.path))
        self.trouble = None
        return True

    def remove_if(self, pid: int) -> None:
        """Take the file away if it is that of process `pid`."""
        self._removed = True
        found = self.read()
        if found is not None and found.pid == pid:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                self.log.warn(
                    "{path} could not be removed: {reason}", path=str(self.path), reason=str(error)
                )


def _in_json(state: RunnerState) -> bytes:
    return json.dumps(msgspec.to_builtins(state), indent=2).encode()


@define
class OwnState:
    """What this run says of itself, in memory and on the disk."""

    file: StateFile
    disk: Disk = field(factory=SynchronousDisk)
    value: RunnerState | None = None  # None: nothing has been said yet

    def begin(self, state: RunnerState, now: float) -> None:
        """Say it for the first time."""
        self.file.set_aside_if_broken(now)
        self.value = state
        self.file.write(state)

    async def record_heartbeat(self, now: float) -> None:
        await self._change(last_heartbeat=npm_timestamp(now))

    def use(self, access: HubAccess, machine_id: str) -> None:
        """Another hub, token or headers."""
        self._soon(**{"started_with_extra_headers_hash": None, **hub_identity(access, machine_id)})

    async def quiesce(self) -> None:
        """Nothing to do: the file is written by heartbeats alone, which rest during a hand-off."""

    def resume(self) -> None:
        """Write the file again, over that of another runner."""
        self._soon()

    def _soon(self, **changes: Any) -> None:
        writing = Deferred.fromCoroutine(self._change(**changes))
        writing.addErrback(lambda reason: self.file.log.failure("Writing the state failed", reason))

    async def _change(self, **changes: Any) -> None:
        if self.value is not None:
            self.value = msgspec.structs.replace(self.value, **changes)
            await self.file.save(self.value, self.disk)

    def remove(self) -> None:
        """Take the file away, if it is still ours."""
        if self.value is not None:
            self.file.remove_if(self.value.pid)
