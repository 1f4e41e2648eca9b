"""What HAPI needs of the operating system's processes, whoever provides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

from hapi.attempts import AttemptFolder
from hapi.process.child_limits import SessionLimits
from hapi.protocol.attempt import ProcessIdentity

HOLDER_NAME = "hapi-holder"  # a -X option without a meaning for Python; it marks holders in `ps`
TerminationResult = Literal["stopped", "already_gone", "still_alive"]


@frozen
class LaunchPlan:
    """What to start: `argv` in the directory `cwd` with exactly `environment`.

    Its output goes into the attempt's folder.
    """

    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    attempt: AttemptFolder
    limits: SessionLimits | None = None  # None: those we have ourselves


@frozen
class Launched:
    """A started session: the holder that waits for it, and its own process."""

    holder: ProcessIdentity
    child: ProcessIdentity


@frozen
class Exit:
    """How a process ended; both None when nobody knows."""

    exit_code: int | None
    signal: str | None  # "SIGTERM"


class LaunchFailed(Exception):
    """There is no process; `reason` says why, in words for a user."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} could not be started: {reason}")
        self.program, self.reason = program, reason


class IProcesses(Interface):
    """The operating system's processes, as far as HAPI needs them.

    A signal reaches exactly the process that is meant, or none.
    """

    def launch(plan: LaunchPlan) -> Deferred[Launched]:
        """Start `plan` below a holder that leads its own session and outlives us.

        `process.json` is in the attempt's folder when this fires, and `end.json` once the process
        has ended. Errs with LaunchFailed.
        """

    def boot_id() -> str:
        """The name that identities give to this run of the machine. Raises OSError."""

    def identify(pid: int) -> ProcessIdentity | None:
        """Who has this pid now; None if nobody has or it has ended."""

    def is_running(identity: ProcessIdentity) -> bool | None:
        """Whether this very process runs; a zombie does not. None when that cannot be found out."""

    def when_exited(identity: ProcessIdentity) -> Deferred[Exit]:
        """Fires when the process has ended, at once if it is gone; it need not be a child of ours.

        The exit status is known only for a process that ends while it is waited for.
        """

    def end_tree(
        identity: ProcessIdentity, attempt_id: str, grace_period: float = 2.0
    ) -> Deferred[TerminationResult]:
        """End the process and everything below it or marked with `attempt_id`.

        The process itself gets SIGTERM first; the others follow when it is gone or half of
        `grace_period` (seconds) is over. What is left after `grace_period` is killed.
        "still_alive" is also the answer when the state of the process cannot be read.
        """

    def tree(identity: ProcessIdentity, attempt_id: str) -> list[ProcessIdentity]:
        """The process, its descendants and all that is marked with `attempt_id`, parents first.

        The holder is included.
        """

    def command_line(pid: int) -> list[str] | None:
        """The words it was started with; None if it is gone or hidden."""

    def environment(pid: int) -> Mapping[str, str] | None:
        """The environment it was started with; None if it is gone or hidden."""

    def owner(pid: int) -> int | None:
        """The uid it runs as; None if it is gone or hidden."""
