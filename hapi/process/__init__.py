"""The operating system's processes: launch, identity, exit, and termination of whole trees.

Signals are sent from this package only.
"""

from typing import TYPE_CHECKING, Any

from hapi.process.interface import (
    Exit,
    IProcesses,
    Launched,
    LaunchFailed,
    LaunchPlan,
    TerminationResult,
)
from hapi.protocol.attempt import ProcessIdentity

if TYPE_CHECKING:
    from hapi.process.in_memory import MemoryProcesses
    from hapi.process.system import SystemProcesses

__all__ = [
    "Exit",
    "IProcesses",
    "LaunchFailed",
    "LaunchPlan",
    "Launched",
    "MemoryProcesses",
    "ProcessIdentity",
    "SystemProcesses",
    "TerminationResult",
]


def __getattr__(name: str) -> Any:
    if name == "SystemProcesses":
        from hapi.process.system import SystemProcesses

        return SystemProcesses
    if name == "MemoryProcesses":
        from hapi.process.in_memory import MemoryProcesses

        return MemoryProcesses
    raise AttributeError(name)
