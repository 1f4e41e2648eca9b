"""The processes of this machine, on the layer that `hapi.process.kernel` chooses.

Each layer is imported when it is used: the other one may not exist on this system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hapi.process.kernel import choose_layer

if TYPE_CHECKING:
    from hapi.process.exit_watch import ExitWatcher
    from hapi.process.interface import IProcesses
    from hapi.process.systemd_scopes import ScopeManager


def exit_watcher(reactor: Any) -> ExitWatcher:
    """What notices the exits of processes that are not ours, on the chosen layer."""
    from hapi.process.exit_watch import ExitWatcher

    if choose_layer() == "linux":
        return ExitWatcher(reactor, reactor)
    from hapi.process.portable_exits import portable_exit_watcher

    return portable_exit_watcher(reactor)


def local_processes(reactor: Any, scopes: ScopeManager | None = None) -> IProcesses:
    """The processes of this machine, on the chosen layer. `scopes`: see SystemProcesses."""
    if choose_layer() == "linux":
        from hapi.process.system import SystemProcesses

        return cast("IProcesses", SystemProcesses(reactor, scopes))
    from hapi.process.portable_processes import PortableProcesses

    return cast("IProcesses", PortableProcesses(reactor, scopes))
