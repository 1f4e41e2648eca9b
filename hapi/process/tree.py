"""The processes of a session: descendants of its holder or of itself, or marked with its attempt.

By hand because psutil takes four times as long to scan all processes (see `identity.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.one_shot import OneShotObserver
from hapi.process.identity import Stat
from hapi.process.interface import HOLDER_NAME
from hapi.process.kernel import Kernel
from hapi.protocol.attempt import ProcessIdentity

SCAN_SLICE = 0.008  # seconds of looking at processes before others get their turn
_MARK = f"{ATTEMPT_VARIABLE}=".encode()


@define
class ProcessTable:
    """All processes of one moment. Filled in slices, so that nobody waits for it long."""

    kernel: Kernel
    stats: dict[int, Stat] = field(factory=dict)
    marked: dict[str, set[int]] = field(factory=dict)  # attempt → pids
    children: dict[int, list[Stat]] = field(factory=dict)  # by the parent's pid

    def fill(self) -> Iterator[None]:
        """Look at every process, pausing before each."""
        for pid in self.kernel.pids():
            yield
            stat = self.kernel.read_stat(pid)
            if stat is None or stat.ended:
                continue
            self.stats[stat.pid] = stat
            self.children.setdefault(stat.parent, []).append(stat)
            environ = self.kernel.read_environment(stat.pid) or b""
            for entry in environ.split(b"\0") if _MARK in environ else ():
                if entry.startswith(_MARK):
                    self.marked.setdefault(entry[len(_MARK) :].decode(errors="replace"), set()).add(
                        stat.pid
                    )


@define(eq=False, repr=False)
class ProcessScanner:
    """Scans all processes, once for all callers that ask together, and in slices of SCAN_SLICE."""

    _clock: IReactorTime
    _kernel: Kernel
    _next: OneShotObserver[ProcessTable] | None = None
    _scanning: bool = False

    def scan(self) -> Deferred[ProcessTable]:
        """What was there at some moment after this call."""
        if self._next is None:
            self._next = OneShotObserver()
            if not self._scanning:
                self._scanning = True
                self._clock.callLater(0, self._start_scan)
        return self._next.when_fired()

    def _start_scan(self) -> None:
        assert self._next is not None
        asked, self._next = self._next, None
        table = ProcessTable(self._kernel)
        self._continue_scan(table, table.fill(), asked)

    def _continue_scan(
        self, table: ProcessTable, filling: Iterator[None], asked: OneShotObserver[ProcessTable]
    ) -> None:
        try:
            until = self._clock.seconds() + SCAN_SLICE
            for _ in filling:
                if self._clock.seconds() >= until:
                    self._clock.callLater(0, self._continue_scan, table, filling, asked)
                    return
        except Exception:
            result: ProcessTable | Failure = Failure()
        else:
            result = table
        if self._next is None:
            self._scanning = False
        else:
            self._clock.callLater(0, self._start_scan)
        asked.fire(result)


@define
class Members:
    """The live processes of one session."""

    holder: Stat | None
    root: Stat | None
    others: list[Stat]  # parents before their children

    @property
    def is_empty(self) -> bool:
        """Nobody is there, save perhaps the holder."""
        return self.root is None and not self.others

    @property
    def stats(self) -> list[Stat]:
        return [stat for stat in (self.holder, self.root, *self.others) if stat is not None]


def members(
    table: ProcessTable, identity: ProcessIdentity, attempt_id: str, own_pid: int
) -> Members:
    """The processes in `table` of the session whose process or holder is `identity`.

    `own_pid` and its descendants are never among them.

    Nor are runners that the session started, other sessions' holders, and descendants of these.
    """
    marked = table.marked.get(attempt_id, set()) if attempt_id else set()
    root = table.stats.get(identity.pid)
    if root is not None and root.start_ticks != identity.start_ticks:
        root = None  # somebody else has its pid now
    holder = next(
        (table.stats[pid] for pid in sorted(marked) if is_holder(table.kernel, pid)), None
    )
    found: dict[int, Stat] = {}
    level = [stat for stat in (root, holder) if stat is not None]
    level += [table.stats[pid] for pid in sorted(marked) if table.stats[pid].parent not in marked]
    while level:
        fresh = [stat for stat in level if stat.pid not in found and stat.pid != own_pid]
        fresh = [
            stat
            for stat in fresh
            if stat is root or stat is holder or not is_independent(table.kernel, stat.pid, marked)
        ]
        found.update((stat.pid, stat) for stat in fresh)
        level = [child for stat in fresh for child in table.children.get(stat.pid, ())]
    others = [stat for stat in found.values() if stat is not root and stat is not holder]
    others.sort(key=lambda stat: _depth(stat, table))
    return Members(holder, None if root is holder else root, others)


def _depth(stat: Stat, table: ProcessTable) -> int:
    depth, seen = 0, {stat.pid}
    while (parent := table.stats.get(stat.parent)) is not None and parent.pid not in seen:
        depth, stat = depth + 1, parent
        seen.add(stat.pid)
    return depth


def command_line(kernel: Kernel, pid: int) -> list[bytes]:
    return (kernel.read_command_line(pid) or b"").rstrip(b"\0").split(b"\0")


def is_holder(kernel: Kernel, pid: int) -> bool:
    return HOLDER_NAME.encode() in command_line(kernel, pid)[:7]


def is_independent(kernel: Kernel, pid: int, marked: set[int]) -> bool:
    """A runner, or the holder of another attempt."""
    line = command_line(kernel, pid)
    return is_runner(line) or (HOLDER_NAME.encode() in line[:7] and pid not in marked)


def is_runner(line: list[bytes]) -> bool:
    return b"runner" in line and b"start-sync" in line


def has_no_descendants(kernel: Kernel, holder: int) -> bool | None:
    """Whether a holder has no children but runners and other holders.

    The kernel's list of its children is never empty while anything lives below a subreaper. None
    where there is no such list.
    """
    children = kernel.children_of(holder)
    if children is None:
        return None
    lines = [command_line(kernel, pid) for pid in children]
    return all(is_runner(line) or HOLDER_NAME.encode() in line[:7] for line in lines)


def descendants(kernel: Kernel, root: ProcessIdentity) -> list[ProcessIdentity] | None:
    """The process and everything below it, parents first; None where only a scan can tell.

    Left out, with what is below them: runners and other sessions' holders.
    """
    found, level = [root], [root]
    while level:
        last, level = level, []
        for parent in last:
            pids = kernel.children_of(parent.pid)
            if pids is None and parent is root:
                return None
            for pid in pids or ():
                child = kernel.identify(pid)
                stat = kernel.read_stat(pid)
                if (
                    child is None
                    or stat is None
                    or (stat.start_ticks, stat.parent) != (child.start_ticks, parent.pid)
                ):
                    continue  # it has ended, and its pid may be another's
                if not is_independent(kernel, pid, set()):
                    level.append(child)
        found += level
    return found
