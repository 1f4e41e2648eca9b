"""Git for the page: status and differences of the session's directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hapi.session.rpc.paths import AllowedPaths, PathNotAllowed

PATIENCE = 10.0  # seconds
OUTPUT_LIMIT = 16 * 1024 * 1024  # bytes


class _Collected(ProcessProtocol):
    def __init__(self) -> None:
        self.out, self.err, self.too_much = b"", b"", False
        self.code: int | None = None
        self.done: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data
        if len(self.out) > OUTPUT_LIMIT and not self.too_much:
            self.too_much = True
            assert self.transport is not None
            self.transport.signalProcess("KILL")

    def errReceived(self, data: bytes) -> None:
        self.err = (self.err + data)[-65536:]

    def processEnded(self, reason: Failure) -> None:
        self.code = (
            0 if isinstance(reason.value, ProcessDone) else getattr(reason.value, "exitCode", None)
        )
        self.done.callback(None)


async def collected(
    reactor: Any, argv: list[str], cwd: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Run a program: `{success, stdout, stderr, exitCode, error?}`. 10 s, 16 MiB."""
    program = shutil.which(argv[0], path=environ.get("PATH"))
    if program is None:
        return {
            "success": False,
            "stdout": "",
            "stderr": "",
            "exitCode": -1,
            "error": f"{argv[0]} is not installed",
        }
    running = _Collected()
    transport = reactor.spawnProcess(running, program, argv, dict(environ), cwd)
    transport.closeStdin()
    timer = reactor.callLater(PATIENCE, transport.signalProcess, "KILL")
    try:
        await running.done
    finally:
        late = not timer.active()
        if not late:
            timer.cancel()
    answer: dict[str, Any] = {
        "success": running.code == 0 and not running.too_much,
        "stdout": running.out.decode(errors="replace"),
        "stderr": running.err.decode(errors="replace"),
        "exitCode": -1 if running.code is None else running.code,
    }
    if late or running.too_much:
        answer |= {
            "success": False,
            "error": f"{argv[0]} took too long" if late else f"{argv[0]} writes too much",
        }
    elif running.code != 0:
        answer["error"] = answer["stderr"].strip()[:2000] or f"{argv[0]} exited with {running.code}"
    return answer


@define
class Git:
    """The `git-…` RPC methods. Nothing is changed: no locks are taken, no hooks and no helpers of the repository run."""

    _reactor: Any
    _places: AllowedPaths
    _environ: Mapping[str, str]

    async def status(self, params: Any) -> dict[str, Any]:
        return await self._run(
            params, "status", "--porcelain=v2", "--branch", "--untracked-files=all"
        )

    async def numstat(self, params: Any) -> dict[str, Any]:
        return await self._run(params, "diff", *_safe_diff(params), "--numstat")

    async def diff_file(self, params: Any) -> dict[str, Any]:
        path = params.get("filePath") if isinstance(params, Mapping) else None
        if not isinstance(path, str) or not path:
            return {"success": False, "error": "filePath is required"}
        try:
            self._places.inside(path)
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        return await self._run(params, "diff", *_safe_diff(params), "--", path)

    async def _run(self, params: Any, *arguments: str) -> dict[str, Any]:
        cwd = params.get("cwd") if isinstance(params, Mapping) else None
        try:
            place = self._places.inside(cwd if isinstance(cwd, str) else "")
        except PathNotAllowed as problem:
            return {"success": False, "error": str(problem)}
        if not Path(place).is_dir():
            return {"success": False, "error": f"{place} is no directory"}
        environ = {
            **self._environ,
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
        }
        config = ["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]
        return await collected(
            self._reactor, ["git", *config, *arguments], os.fspath(place), environ
        )


def _safe_diff(params: Any) -> list[str]:
    staged = isinstance(params, Mapping) and params.get("staged") is True
    return ["--no-ext-diff", "--no-textconv", *(["--cached"] if staged else [])]
