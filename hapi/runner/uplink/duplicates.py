"""Other runners that use this machine's id at the hub, from a copied home say (faults.md N19).

Both runners are warned, neither is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.protocol.machine import RunnerFacts
from hapi.redaction import escape_control
from hapi.runner.storage.journal import RecordEvent, discard_event

MAX_DUPLICATES = 16  # that are remembered


@frozen
class DuplicateRunner:
    """One run of another runner."""

    pid: int
    started_at: int  # ms since the epoch, by the clock of that runner


def find_duplicate(state: Any, ours: RunnerFacts) -> DuplicateRunner | None:
    """The runner that the machine's state names, unless that is the one with the facts `ours`."""
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


@define(eq=False, repr=False)
class DuplicateRunners:
    """`_publish` publishes this runner's state again, once for each other runner: it learns of this
    one by that. `is_ours(pid)` tells whether a process is the other side of a hand-off.
    """

    _facts: RunnerFacts
    _machine_id: str
    _home: str
    _publish: Callable[[], object]
    is_ours: Callable[[int], bool] = field(default=lambda pid: False)
    record_event: RecordEvent = discard_event
    _known: dict[DuplicateRunner, str] = field(factory=dict)  # → where it runs
    log = Logger()

    def check(self, state: Any, metadata: Any) -> None:
        """Another socket wrote this `runnerState`; the machine's `metadata` names the home."""
        found = find_duplicate(state, self._facts)
        if found is None or self.is_ours(found.pid):
            return
        if state.get("status") != "running":
            if self._known.pop(found, None) is not None:
                self.log.info(
                    "The other runner of this machine, process {pid}, has stopped", pid=found.pid
                )
                self.record_event("duplicate-runner-left", pid=found.pid)
            return
        if found in self._known or len(self._known) >= MAX_DUPLICATES:
            return
        self._known[found] = where = self._where(metadata)
        self.log.warn(
            "Another runner uses the id of machine {machine_id}: process {pid}{where}",
            machine_id=self._machine_id,
            pid=found.pid,
            where=where,
        )
        self.record_event(
            "duplicate-runner", pid=found.pid, reason=f"it uses the same machine id{where}"
        )
        self._publish()

    def warnings(self) -> list[str]:
        return [
            f"process {duplicate.pid}{where} is a runner with the same machine id "
            f"({self._machine_id}): remove machineId from settings.json of the copied home "
            "and restart its runner"
            for duplicate, where in self._known.items()
        ]

    def _where(self, metadata: Any) -> str:
        """The home of the other runner, unless the hub names this one's."""
        home = metadata.get("happyHomeDir") if isinstance(metadata, Mapping) else None
        return (
            f" in {escape_control(home)[:200]}"
            if isinstance(home, str) and home != self._home
            else ""
        )
