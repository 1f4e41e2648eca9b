"""Other runners that speak for this machine at the hub: a copied home, say. Both are told, neither is stopped (faults.md N19)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.protocol.machine import RunnerFacts
from hapi.redaction import escape_control
from hapi.runner.storage.journal import RecordEvent, discard_event

MOST = 16  # whom we remember; more are told of by those


@frozen
class DuplicateRunner:
    """One run of another runner."""

    pid: int
    started_at: int  # ms since the epoch, by its clock


def namesake(state: Any, ours: RunnerFacts) -> DuplicateRunner | None:
    """Who says in the machine's state that it runs, unless that is us."""
    if not isinstance(state, Mapping):
        return None
    pid, started_at = state.get("pid"), state.get("startedAt")
    if not isinstance(pid, int) or not isinstance(started_at, int):
        return None
    return (
        None
        if (pid, started_at) == (ours.pid, ours.started_at)
        else DuplicateRunner(pid, started_at)
    )


@define(eq=False)
class DuplicateRunners:
    """`_speak` says our state again, so that the other hears of us: once for each. `is_ours(pid)`: a hand-off's other side."""

    _facts: RunnerFacts
    _machine_id: str
    _home: str
    _speak: Callable[[], object]
    is_ours: Callable[[int], bool] = field(default=lambda pid: False)
    record_event: RecordEvent = discard_event
    _known: dict[DuplicateRunner, str] = field(factory=dict)  # → where it runs
    log = Logger()

    def heard(self, state: Any, metadata: Any) -> None:
        """Somebody else's socket wrote this `runnerState`; the machine's `metadata` says whose home it is."""
        found = namesake(state, self._facts)
        if found is None or self.is_ours(found.pid):
            return
        if state.get("status") != "running":
            if self._known.pop(found, None) is not None:
                self.log.info(
                    "The other runner of this machine, process {pid}, has left", pid=found.pid
                )
                self.record_event("namesake-left", pid=found.pid)
            return
        if found in self._known or len(self._known) >= MOST:
            return
        self._known[found] = where = self._where(metadata)
        self.log.warn(
            "Another runner speaks for machine {machine_id}: process {pid}{where}",
            machine_id=self._machine_id,
            pid=found.pid,
            where=where,
        )
        self.record_event(
            "namesake", pid=found.pid, reason=f"it speaks for the same machine{where}"
        )
        self._speak()

    def warnings(self) -> list[str]:
        return [
            f"process {namesake.pid}{where} is a runner with this machine's id ({self._machine_id}): remove machineId from "
            "settings.json of the home that was copied, and start its runner again"
            for namesake, where in self._known.items()
        ]

    def _where(self, metadata: Any) -> str:
        """Its home, as far as the hub tells: what stands there may be ours."""
        home = metadata.get("happyHomeDir") if isinstance(metadata, Mapping) else None
        return (
            f" in {escape_control(home)[:200]}"
            if isinstance(home, str) and home != self._home
            else ""
        )
