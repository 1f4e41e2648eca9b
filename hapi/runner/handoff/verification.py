"""Whether the runner that answers on the control port is the replacement that this runner started.

`verify_replacement` decides it from one answer to `/status` (faults.md H04). That the replacement
holds the lock is proven on its own side, by `hapi.runner.handoff.descriptors.verify_inherited`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.build import Build
from hapi.runner.config.options import RunnerOptions
from hapi.runner.storage.state_file import identity_digest


@frozen
class ExpectedStatus:
    """What the replacement must answer; the fields are the values of `/status`, None is any value.

    With the identity `online_as` it must be connected to the hub; with another one, which a command
    asked for, it must have tried to connect.
    """

    pid: int
    argv: tuple[str, ...]
    port: int
    online_as: str | None
    version: str | None = None
    digest: str | None = None
    workspace_roots: tuple[str, ...] | None = None
    session_command: tuple[str, ...] | None = None
    hub: str | None = None
    machine_id: str | None = None
    # of hub, token and headers: hapi.runner.storage.state_file.identity_digest
    identity: str | None = None

    @classmethod
    def of(cls, options: RunnerOptions, build: Build, pid: int, port: int) -> ExpectedStatus:
        """The status of process `pid` when it runs `build` with this runner's `options`."""
        identity = identity_digest(options.access, options.machine_id)
        return cls(
            pid=pid,
            version=build.version,
            digest=build.digest,
            argv=tuple(options.argv),
            workspace_roots=tuple(options.workspace_roots),
            session_command=tuple(options.session_command),
            hub=options.access.url,
            machine_id=options.machine_id,
            identity=identity,
            port=port,
            online_as=identity,
        )


@frozen
class Verified:
    """The replacement may have the home."""


@frozen
class NotReady:
    """The replacement is the right one but not ready: ask again."""

    reason: str


@frozen
class Mismatch:
    """The replacement is not what this runner started: asking again will not help."""

    reason: str


def verify_replacement(
    expected: ExpectedStatus, status: Mapping[str, Any]
) -> Verified | NotReady | Mismatch:
    """Compare an answer to `/status` with what is expected of the replacement."""
    hub = status.get("hub")
    hub = hub if isinstance(hub, Mapping) else {}
    build = status.get("build")
    checks = {
        "process id": (expected.pid, status.get("pid")),
        "version": (expected.version, status.get("version")),
        "build": (expected.digest, build.get("digest") if isinstance(build, Mapping) else None),
        "arguments": (expected.argv, _as_tuple(status.get("argv"))),
        "workspace roots": (expected.workspace_roots, _as_tuple(status.get("workspaceRoots"))),
        "session command": (expected.session_command, _as_tuple(status.get("sessionCommand"))),
        "hub": (expected.hub, hub.get("url")),
        "machine id": (expected.machine_id, status.get("machineId")),
        "identity at the hub": (expected.identity, status.get("identity")),
        "control port": (expected.port, status.get("httpPort")),
    }
    wrong = [name for name, (wanted, found) in checks.items() if wanted not in (None, found)]
    if wrong:
        return Mismatch(f"the replacement came up with another {' and '.join(wrong)}")
    if status.get("registered") is True and hub.get("phase") == "connected":
        return Verified()
    if expected.online_as is None or expected.online_as != status.get("identity"):
        return Verified() if hub.get("reason") else NotReady("it has not tried to reach the hub")
    why = f" ({hub['reason']})" if hub.get("reason") else ""
    if status.get("registered") is not True:
        return NotReady(f"it is not registered at the hub{why}")
    return NotReady(f"it is not connected to the hub{why}")


def _as_tuple(value: Any) -> tuple[Any, ...] | None:
    return tuple(value) if isinstance(value, list | tuple) else None
