"""`runner.state.json`: what npm's CLI, session processes and our own CLI read to find and judge
this runner (runner.md §10).
"""

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
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.home import PRIVATE_FILE_MODE, Home, read_capped, write_atomically
from hapi.protocol.machine import COMPATIBLE_VERSION
from hapi.runner.storage.disk import Disk, SynchronousDisk
from hapi.settings import HubAccess


class RunnerState(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The fields that programs decide on.

    The keys are npm's, except `version`, `handoffDisabled` and `controlToken`.
    """

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
    """The fields by which npm's programs decide whether a runner serves their hub and machine."""
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
    """A digest of hub, machine, token and headers: comparable, without revealing any of them."""
    return hashlib.sha256(
        json.dumps(hub_identity(access, machine_id), sort_keys=True).encode()
    ).hexdigest()[:32]


def npm_timestamp(now: float) -> str:
    """A time (epoch seconds) as in npm's state file, `11/20/2026, 11:22:00 AM`: for people."""
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
    """The state of this runner at its start.

    The version hand-off of npm's programs is always off: they compare the modification time of
    their own program with ours, and would stop this runner. Our hand-off compares version and
    content; `handoffDisabled` says whether it is off.
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
    """`runner.state.json`: read, written atomically, and removed only by the runner it names."""

    _home: Home
    write_error: str | None = None  # why the last write failed
    _removed: bool = False
    log = Logger()

    @property
    def path(self) -> Path:
        return self._home.runner_state

    def read(self) -> RunnerState | None:
        """The state in the file, None when there is none or it cannot be read. Logs nothing."""
        try:
            content = read_capped(self.path)
            return None if content is None else msgspec.json.decode(content, type=RunnerState)
        except (OSError, ValueError, RecursionError):
            return None

    def set_aside_if_broken(self, now: float) -> Path | None:
        """Before the first write: keep a file that cannot be read under another name.

        The lock alone decides which runner runs.
        """
        if self.read() is not None or not os.path.lexists(self.path):
            return None
        aside = self.path.with_name(f"{self.path.name}.corrupt-{int(now)}")
        try:
            os.rename(self.path, aside)
        except OSError as error:
            self.log.warn(
                "{path} cannot be read and could not be moved aside: {reason}",
                path=str(self.path),
                reason=str(error),
            )
            return None
        with suppress(OSError):
            if aside.is_file() and not aside.is_symlink():
                aside.chmod(PRIVATE_FILE_MODE)
        self.log.warn(
            "{path} could not be read and was moved to {aside}",
            path=str(self.path),
            aside=str(aside),
        )
        return aside

    def write(self, state: RunnerState) -> bool:
        """Write `state`; False when that failed. The log has the first failure and the recovery."""
        try:
            write_atomically(self.path, _in_json(state))
        except OSError as error:
            return self._write_failed(error)
        return self._written()

    async def save(self, state: RunnerState, disk: Disk) -> bool:
        """`write`, after the earlier work of `disk`."""
        content = _in_json(state)
        try:
            await disk.do(lambda: self._put(content, state.pid))
        except OSError as error:
            return self._write_failed(error)
        return self._written()

    def _put(self, content: bytes, pid: int) -> None:
        if not self._removed:
            write_atomically(self.path, content)
        if self._removed:  # the disk was so slow that the runner has left meanwhile
            self.remove_if(pid)

    def _write_failed(self, error: OSError) -> bool:
        write_error = f"{self.path} could not be written: {error.strerror or error}"
        if write_error != self.write_error:
            self.log.error("{write_error}", write_error=write_error)
        self.write_error = write_error
        return False

    def _written(self) -> bool:
        if self.write_error:
            self.log.info("{path} is written again", path=str(self.path))
        self.write_error = None
        return True

    def remove_if(self, pid: int) -> None:
        """Remove the file if it is that of process `pid`."""
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
    """The state of this runner, in memory and in the file."""

    file: StateFile
    disk: Disk = field(factory=SynchronousDisk)
    value: RunnerState | None = None  # None: not written yet

    def create(self, state: RunnerState, now: float) -> None:
        """Write the file for the first time."""
        self.file.set_aside_if_broken(now)
        self.value = state
        self.file.write(state)

    async def record_heartbeat(self, now: float) -> None:
        await self._change(last_heartbeat=npm_timestamp(now))

    def use(self, access: HubAccess, machine_id: str) -> None:
        """Write another hub, token or headers."""
        self._write_in_background(
            **{"started_with_extra_headers_hash": None, **hub_identity(access, machine_id)}
        )

    async def ensure_saved(self) -> str | None:
        """Write the file again if it is missing or was never written. Why sessions cannot find
        this runner by it; None if they can."""
        if self.value is None:
            return None
        found = await self.disk.do(self.file.read)
        if found is None or (found.pid != self.value.pid and self.file.write_error is not None):
            await self.file.save(self.value, self.disk)
            return self.file.write_error
        return None

    @property
    def write_error(self) -> str | None:
        """Why the file does not hold the last state; None if it does."""
        return self.file.write_error

    async def retry_writes(self) -> None:
        """Write the last state."""
        await self._change()

    async def quiesce(self) -> None:
        """Nothing to do: the file is written by heartbeats alone, which rest during a hand-off."""

    def resume(self) -> None:
        """Write the file again, over that of another runner."""
        self._write_in_background()

    def _write_in_background(self, **changes: Any) -> None:
        run_in_background(self._change(**changes), self.file.log, "The state could not be written")

    async def _change(self, **changes: Any) -> None:
        if self.value is not None:
            self.value = msgspec.structs.replace(self.value, **changes)
            await self.file.save(self.value, self.disk)

    def remove(self) -> None:
        """Remove the file if it is still this runner's."""
        if self.value is not None:
            self.file.remove_if(self.value.pid)
