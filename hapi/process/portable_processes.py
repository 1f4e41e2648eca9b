"""The processes of a machine without pidfds and `/proc`: macOS, and Linux when it is chosen."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from hapi.process import portable
from hapi.process.exit_watch import ExitWatcher
from hapi.process.interface import IProcesses
from hapi.process.kernel import Kernel
from hapi.process.portable_exits import portable_exit_watcher
from hapi.process.system import SystemProcesses


@implementer(IProcesses)
@define(eq=False, repr=False)
class PortableProcesses(SystemProcesses):
    """SystemProcesses by psutil and waitpid(2).

    Weaker than on Linux: a process that loses its parent (a daemon below a session) is found by its
    mark alone, a signal can in theory meet a pid that was given to another process a moment before,
    and no hard resource limits are set.
    """

    _kernel: Kernel = portable  # type: ignore[assignment]

    def _make_exit_watcher(self) -> ExitWatcher:
        return portable_exit_watcher(self._reactor)
