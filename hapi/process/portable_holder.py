"""What the holder asks of systems other than Linux, by psutil; loaded if the runner says so.

Weaker than on Linux: there is no subreaper, so a process that loses its parent becomes a child of
process 1. It is found by the mark in its environment, where the system shows that, and counts as a
child of the holder. psutil costs some 8 MB of memory for each session.
"""

import _signal  # type: ignore[import-not-found]
import os
import select

import psutil

ATTEMPT_VARIABLE = "HAPI_ATTEMPT"  # as in `hapi.attempts`
INIT = 1  # the pid of the process that gets the children of those that ended
STATES = {psutil.STATUS_ZOMBIE: b"Z", psutil.STATUS_DEAD: b"X"}


class Portable:
    """The same questions as those of `holder.Linux`."""

    descriptor_directory = "/dev/fd"

    def __init__(self, awaited: tuple[int, ...]) -> None:
        self.awaited = awaited
        self.own_descriptors: tuple[int, ...] = ()
        self.boot = os.environ.pop("HAPI_HOLDER_BOOT_ID", "")
        self.mark = os.environ.get(ATTEMPT_VARIABLE)

    def prepare(self) -> None:
        """Have signals write their number into a pipe: not all systems have sigtimedwait(2)."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self.reading, self.own_descriptors = reading, (reading, writing)
        for number in self.awaited:
            _signal.signal(number, _ignore)
        _signal.set_wakeup_fd(writing)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def set_name(self) -> None:
        """The name in `ps` stays that of Python; the argument `hapi-holder` marks holders."""

    def wait(self, seconds: float) -> int | None:
        """The signal that arrived within `seconds`; SIGUSR1 before all others."""
        select.select([self.reading], [], [], seconds)
        try:
            arrived = os.read(self.reading, 1 << 12)
        except BlockingIOError:
            return None
        return max(arrived, key=lambda number: number == _signal.SIGUSR1)

    def report_next_write(self, directory: int) -> bool:
        """False: the size of the log is checked again and again."""
        return False

    def boot_id(self) -> str:
        return self.boot

    def stat(self, pid: int) -> tuple[bytes, int, int] | None:
        """State, parent and start ticks; None if there is no such process."""
        try:
            process = psutil.Process(pid)
            state = STATES.get(process.status(), b"R")
            parent = os.getpid() if self._is_orphan(process) else process.ppid() or 0
            return state, parent, round(process._ident[1] * 1_000_000)
        except (psutil.Error, OSError):
            return None

    def identity(self, pid: int) -> tuple[int, int, int]:
        """Pid, start ticks and 0, for there is no pidfd."""
        seen = self.stat(pid)
        return pid, seen[2] if seen else 0, 0

    def children_of(self, pid: int) -> list[int]:
        try:
            found = [each.pid for each in psutil.Process(pid).children()]
        except (psutil.Error, OSError):
            return []
        return found + self._orphans() if pid == os.getpid() else found

    def has_orphans(self) -> bool:
        """Whether descendants that lost their parents run; runners and holders do not count."""
        lines = [self.words(pid) for pid in self._orphans()]
        return any(
            not (b"runner" in line and b"start-sync" in line) and b"hapi-holder" not in line[:7]
            for line in lines
        )

    def _orphans(self) -> list[int]:
        return [each.pid for each in psutil.process_iter() if self._is_orphan(each)]

    def _is_orphan(self, process: psutil.Process) -> bool:
        """Whether the process carries the mark of our attempt and has lost its parent."""
        try:
            return (
                self.mark is not None
                and process.pid != os.getpid()
                and process.ppid() == INIT
                and process.environ().get(ATTEMPT_VARIABLE) == self.mark
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except (psutil.Error, OSError):
            return False

    def words(self, pid: int) -> list[bytes]:
        """The command line of a process, [] if it is gone or hidden."""
        try:
            return [os.fsencode(word) for word in psutil.Process(pid).cmdline()]
        except (psutil.Error, OSError):
            return []

    def send(self, pid: int, is_meant: object, signals: tuple[int, ...]) -> None:
        """Raises OSError. Between `is_meant(pid)` and the signal the pid might become another's."""
        if is_meant(pid):  # type: ignore[operator]
            for number in signals:
                os.kill(pid, number)


def _ignore(number: int, frame: object) -> None:
    """The wakeup descriptor has the number already."""
