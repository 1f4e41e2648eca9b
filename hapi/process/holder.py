"""The holder of one session: starts it, records its end, and ends what it leaves behind.

Run as `python -I -S -E -X hapi-holder holder.py FOLDER DIRECTORY PROGRAM ARGUMENT…` with the
session's environment, its output as descriptors 1 and 2, and a pipe as descriptor 3 for one line:
`held PID TICKS INODE PID TICKS INODE` (holder, session) or `failed ERRNO WHAT`. It imports little
(`signal` would bring `enum`, `json` would bring `re`), because one holder stays in memory for each
session. It ignores all signals that can be ignored, because it ends with its session.

When the session has ended, the holder writes `end.json` at once, sends SIGTERM to what the session
left running and SIGKILL two seconds later, and exits. If the disk refuses `end.json`, it retries
for two minutes. Runners that a session started, and their sessions, are left alone.
"""

import _signal  # type: ignore[import-not-found]
import fcntl
import os
import resource
import sys
import time

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
REPORT = 3  # the pipe's descriptor
LARGEST = 4 << 20  # bytes of output.log before it is moved to output.log.1
TRIES = 120  # attempts to write `end.json`
RETRY_INTERVAL = 1.0  # seconds between them
MIN_LOG_POLL_INTERVAL, MAX_LOG_POLL_INTERVAL = 0.02, 1.0  # seconds between checks of its size
QUIET_LOG_POLL_INTERVAL = 30.0  # seconds, where the system reports the next write
GRACE = 2.0  # seconds that what a session left behind has between SIGTERM and SIGKILL
END_POLL_INTERVAL = 0.05  # seconds between scans for what the session left behind
MAX_END_POLL_INTERVAL = 5.0  # seconds between attempts to kill what cannot be killed
KILL_TIMEOUT = 0.05  # seconds that one attempt to kill may take
MAX_EMPTY_SCANS = 5  # scans that find only runners; one more ends the search
IGNORED_SIGNALS = (
    _signal.SIGTERM,
    _signal.SIGINT,
    _signal.SIGHUP,
    _signal.SIGQUIT,
    _signal.SIGUSR2,
    _signal.SIGTSTP,
)
AWAITED = (
    _signal.SIGCHLD,
    _signal.SIGUSR1,
)  # the latter from a runner: kill all that is below, now
OTHER_NAMES = (
    "SIGCLD",
    "SIGPOLL",
    "SIGIOT",
    "SIG_DFL",
    "SIG_IGN",
    "SIG_BLOCK",
    "SIG_UNBLOCK",
    "SIG_SETMASK",
)
NAMES = {
    number: name
    for name, number in vars(_signal).items()
    if name.startswith("SIG") and name not in OTHER_NAMES
}


def main(folder: str, directory: str, argv: list[str]) -> None:
    if os.getsid(0) != os.getpid():
        os.setsid()  # first: signals to the runner's process group or terminal must not reach us
    for number in IGNORED_SIGNALS:
        _signal.signal(number, _signal.SIG_IGN)
    choose_system(os.environ.pop("HAPI_HOLDER_LIBRARY", ""))
    system.prepare()
    close_others()
    os.environb.pop(b"INVOCATION_ID", None)  # systemd-run's, of the scope
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    child = start(directory, argv)
    system.set_name()
    os.chdir("/")
    mine, its = system.identity(os.getpid()), system.identity(child)
    write(folder, "process.json", f'{{"child":{in_json(its)},"holder":{in_json(mine)}}}\n')
    report("held " + " ".join(str(part) for part in mine + its))
    log, descendants = Log(folder), Descendants(child)
    while descendants.code is None:
        descendants.wait(log.pause)
        log.check_size()
    log.close()
    code = descendants.code
    how = (
        f'"exitCode":{code},"signal":null'
        if code >= 0
        else f'"exitCode":null,"signal":"{NAMES.get(-code, f"SIG{-code}")}"'
    )
    end = f'{{{how},"at":{time.time():.3f}}}\n'
    is_end_saved = write(folder, "end.json", end)
    descendants.end()
    if not is_end_saved:
        write_sooner_or_later(folder, "end.json", end)


def choose_system(library: str) -> None:
    """Use psutil instead of Linux's interfaces if `library` names directories to import from."""
    global system
    if library:
        sys.path += library.split(":")
        from portable_holder import Portable  # type: ignore[import-not-found]

        system = Portable(AWAITED)


def close_others() -> None:
    """No descriptor of the runner goes further than this."""
    for name in os.listdir(system.descriptor_directory):
        if int(name) > REPORT and int(name) not in system.own_descriptors:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one of this very listing
    os.set_inheritable(REPORT, False)


def start(directory: str, argv: list[str]) -> int:
    """Start the session program as leader of a session, with default signals. Returns its pid."""
    try:
        os.chdir(directory)
    except OSError as error:
        give_up(error, "directory")
    limits = narrow(os.environb.pop(b"HAPI_HOLDER_LIMITS", b"").decode().split())
    try:
        signals = set(NAMES) - {_signal.SIGKILL, _signal.SIGSTOP}
        return os.posix_spawnp(
            argv[0], argv, os.environb, setsid=True, setsigmask=(), setsigdef=signals
        )
    except OSError as error:
        give_up(error, "program")
        raise
    finally:
        for kind, pair in limits:
            resource.setrlimit(kind, pair)


def narrow(wanted: list[str]) -> list[tuple[int, tuple[int, int]]]:
    """Set the session's soft limits (`kind=value`) for this process. Returns the old limits."""
    before = []
    for kind, value in (map(int, word.split("=")) for word in wanted):
        try:
            soft, hard = resource.getrlimit(kind)
            resource.setrlimit(
                kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard)
            )
            before.append((kind, (soft, hard)))
        except (OSError, ValueError):
            pass  # the runner, which sets the hard ones, says why
    return before


def give_up(error: OSError, what: str) -> None:
    report(f"failed {error.errno} {what}")
    os._exit(1)


def report(line: str) -> None:
    try:
        os.write(REPORT, line.encode() + b"\n")
    except OSError:
        pass  # the runner is gone; the session lives
    os.close(REPORT)


def in_json(who: tuple[int, int, int]) -> str:
    pid, ticks, inode = who
    boot = system.boot_id()
    return f'{{"pid":{pid},"startTicks":{ticks},"bootId":"{boot}","pidfdInode":{inode or "null"}}}'


def write(folder: str, name: str, content: str) -> bool:
    """Whole or not at all: whether it is there. A disk that refuses must not end the session."""
    sibling = f"{folder}/.{name}.{os.getpid()}"
    try:
        file = os.open(sibling, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            if os.write(file, content.encode()) < len(content):
                raise OSError("no space for all of it")
            os.fsync(file)
            os.rename(sibling, f"{folder}/{name}")
        except OSError:
            os.unlink(sibling)
            raise
        finally:
            os.close(file)
    except OSError as error:
        write_to_output(f"hapi: {folder}/{name} was not written: {error}\n")
        return False
    sync(folder)
    return True


def sync(folder: str) -> None:
    """Bring the rename to the disk. What was renamed is there already, whatever comes of this."""
    try:
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    except OSError as error:
        write_to_output(f"hapi: {folder} was not synced: {error}\n")


def write_sooner_or_later(folder: str, name: str, content: str) -> None:
    """A full disk is emptied, perhaps, and nobody else knows how it ended."""
    for _ in range(TRIES):
        if write(folder, name, content) or not os.path.isdir(folder):
            return
        time.sleep(RETRY_INTERVAL)


def write_to_output(line: str) -> None:
    try:
        os.write(2, line.encode())
    except OSError:
        pass


class Log:
    """Keeps output.log small. The session has it open for appending: it is copied and truncated."""

    def __init__(self, folder: str) -> None:
        self.path, self.size, self.pause = f"{folder}/output.log", 0, MIN_LOG_POLL_INTERVAL
        self.folder: int | None = None  # the descriptor whose files the system watches
        try:
            self.folder = os.open(folder, os.O_RDONLY)
        except OSError:
            pass  # the size is checked more often

    def check_size(self) -> None:
        size = os.fstat(1).st_size
        is_quiet = size == self.size and self.pause >= MAX_LOG_POLL_INTERVAL
        if size - self.size > LARGEST // 8:
            self.pause = MIN_LOG_POLL_INTERVAL
        elif is_quiet and self.is_next_write_reported() and os.fstat(1).st_size == size:
            self.pause = QUIET_LOG_POLL_INTERVAL
        else:
            self.pause = min(self.pause * 2, MAX_LOG_POLL_INTERVAL)
        self.size = size
        if size > LARGEST:
            self.rotate(size)

    def is_next_write_reported(self) -> bool:
        """Whether the next write to a file of the folder ends `system.wait`."""
        return self.folder is not None and bool(system.report_next_write(self.folder))

    def rotate(self, size: int) -> None:
        try:
            source = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
            target = os.open(
                f"{self.path}.1", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600
            )
            at = size - LARGEST
            os.lseek(source, at, os.SEEK_SET)
            while at < size and (part := os.read(source, min(size - at, 1 << 16))):
                at += os.write(target, part)
            os.close(source)
            os.close(target)
        except OSError:
            pass  # a full disk, perhaps: then all the more
        os.ftruncate(1, 0)
        self.size = 0

    def close(self) -> None:
        self.check_size()
        nothing = os.open("/dev/null", os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(nothing, descriptor)
        os.close(nothing)


class Descendants:
    """The session and all that it started: a process that loses its parent becomes our child."""

    def __init__(self, session: int) -> None:
        self.session, self.hurried = session, False
        self.code: int | None = None  # of the session, once it has ended; negative for a signal

    def wait(self, seconds: float) -> None:
        """Until a child ends or a runner is in a hurry, at most so long."""
        if system.wait(seconds) == _signal.SIGUSR1:
            self.hurried = True
            self.kill()
        self.reap()

    def reap(self) -> bool:
        """Reap all children that have ended. Returns False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.session:
                self.code = os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """End what the session left behind, and wait until it is gone."""
        deadline, pause, empty_scans = time.monotonic() + GRACE, END_POLL_INTERVAL, 0
        signalled: set[int] = set()
        while self.reap() or system.has_orphans():
            left = our_descendants()
            empty_scans = 0 if left else empty_scans + 1
            if empty_scans > MAX_EMPTY_SCANS:
                return  # only runners are below us
            if self.hurried or time.monotonic() >= deadline:
                if left and not self.kill():
                    # another user's, or the kernel does not let it go
                    pause = min(pause * 2, MAX_END_POLL_INTERVAL)
            else:
                send(left - signalled, _signal.SIGTERM, _signal.SIGCONT)
                signalled |= left
            self.wait(pause)

    def kill(self) -> bool:
        """Kill our children repeatedly, since their own children become ours by that.

        Returns True if none is left. A child's pid is not reused before we have reaped the child.
        """
        until = time.monotonic() + KILL_TIMEOUT
        while time.monotonic() < until:
            there = [pid for pid in system.children_of(os.getpid()) if not is_independent(pid)]
            if not there:
                return True
            for pid in there:
                try:
                    os.kill(pid, _signal.SIGKILL)
                except OSError:
                    pass
            self.reap()
        return False


def our_descendants() -> set[int]:
    """Pids of all our descendants, without runners and other holders and what is below those.

    Our own children count even if they end at once: a process that lives so briefly has successors.
    """
    last = [pid for pid in system.children_of(os.getpid()) if not is_independent(pid)]
    found = set(last)
    while last:
        listed = [pid for parent in last for pid in system.children_of(parent)]
        last = [
            pid
            for pid in listed
            if pid not in found and not has_ended(pid) and not is_independent(pid)
        ]
        found.update(last)
    return found


def has_ended(pid: int) -> bool:
    seen = system.stat(pid)
    return seen is None or seen[0] in b"ZX"


def is_independent(pid: int) -> bool:
    """A runner, or the holder of another session."""
    words = system.words(pid)
    return (b"runner" in words and b"start-sync" in words) or b"hapi-holder" in words[:7]


def send(pids: set[int], *signals: int) -> None:
    for pid in pids:
        try:
            system.send(pid, is_descendant, signals)
        except OSError:
            pass  # gone, or another user's


def is_descendant(pid: int) -> bool:
    while pid > 1:
        seen = system.stat(pid)
        pid = 0 if seen is None else seen[1]
        if pid == os.getpid():
            return True
    return False


class Linux:
    """What the holder asks of Linux. `portable_holder.Portable` answers the same by psutil."""

    descriptor_directory = "/proc/self/fd"
    own_descriptors = ()
    awaited = (*AWAITED, _signal.SIGIO)  # what F_NOTIFY sends

    def prepare(self) -> None:
        """Block the signals that `wait` waits for, and become the subreaper of all descendants."""
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self.awaited)
        self._prctl(PR_SET_CHILD_SUBREAPER, 1)

    def set_name(self) -> None:
        self._prctl(PR_SET_NAME, b"hapi-holder\0")

    def _prctl(self, option: int, value: object) -> None:
        import _ctypes

        libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        _ctypes.call_function(_ctypes.dlsym(libc, "prctl"), (option, value, 0, 0, 0))

    def wait(self, seconds: float) -> int | None:
        """The signal of AWAITED, or SIGIO, that arrived within `seconds`."""
        came = _signal.sigtimedwait(self.awaited, seconds)
        return None if came is None else int(came.si_signo)

    def report_next_write(self, directory: int) -> bool:
        """Have the next write to a file in the open `directory` send us SIGIO (fcntl(2), F_NOTIFY).

        False where the kernel lacks that.
        """
        try:
            fcntl.fcntl(directory, fcntl.F_NOTIFY, fcntl.DN_MODIFY)
        except (OSError, AttributeError):
            return False
        return True

    def boot_id(self) -> str:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            return file.read(64).decode().strip()

    def stat(self, pid: int) -> tuple[bytes, int, int] | None:
        """State, parent and start ticks; None if there is no such process."""
        try:
            descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
            try:
                content = os.read(descriptor, 4096)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        fields = content[content.rindex(b")") + 2 :].split()
        return fields[0], int(fields[1]), int(fields[19])

    def identity(self, pid: int) -> tuple[int, int, int]:
        """Pid, start ticks and pidfd inode (0 where the kernel has no pidfs)."""
        inode = 0
        try:
            pidfd, other = os.pidfd_open(pid), os.eventfd(0)
            if os.fstat(pidfd).st_dev != os.fstat(other).st_dev:
                inode = os.fstat(pidfd).st_ino
            os.close(pidfd)
            os.close(other)
        except OSError:
            pass
        seen = self.stat(pid)
        return pid, seen[2] if seen else 0, inode

    def children_of(self, pid: int) -> list[int]:
        """Pids of the children of all its threads."""
        found = []
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            own_list = f"/proc/self/task/{os.getpid()}/children"
            if not os.path.exists(own_list):  # a kernel without this list
                pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
                stats = [(each, self.stat(each)) for each in pids]
                return [child for child, seen in stats if seen is not None and seen[1] == pid]
        return found

    def has_orphans(self) -> bool:
        """Whether descendants have escaped to another parent: impossible below a subreaper."""
        return False

    def words(self, pid: int) -> list[bytes]:
        """The command line of a process, [] if it is gone or hidden."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
                return file.read(1 << 16).split(b"\0")
        except OSError:
            return []

    def send(self, pid: int, is_meant: object, signals: tuple[int, ...]) -> None:
        """The pid may have been reused: its pidfd is opened first, then `is_meant(pid)` is asked.

        Raises OSError.
        """
        pidfd = os.pidfd_open(pid)
        try:
            if is_meant(pid):  # type: ignore[operator]
                for number in signals:
                    _signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


system: Linux = Linux()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
