"""System calls of the real runner that kill it or fail, one after another, by strace: files are
whole, the next start works.

A runner is stopped, strace is put on it, and it goes on. First without a fault: the calls on the
home's files that were seen are the points (faults.md G3). HAPI_FAULTS decides how many are tried,
and in which phases.
"""

import os
import random
import re
import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, zip_longest

import psutil
import pytest

from tests.support.kills import AFTER_A_KILL, Doomed, running_hub
from tests.support.programs import Stage, level, until

pytestmark = [pytest.mark.program, pytest.mark.peer("strace")]
CHANGES = (
    "open,openat,creat,mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,flock,link,linkat,rename,renameat,renameat2,"
    "unlink,unlinkat,rmdir,bind,chmod,fchmod,fchmodat"
)
LOOKS = "newfstatat,fstat,stat,lstat,statx,access,faccessat,getdents64,read,pread64,close,readlink"
SEED = int(os.environ.get("HAPI_SEED", "1"))
ERRORS = ("ENOSPC", "EIO", "EROFS", "EMFILE")
ALL = level(0, 1000)  # of a thousand; 0: a few chosen ones
CALL = re.compile(r"^(\d+) +(\w+)\((.*)")


class Struck(Doomed):
    """A machine on whose runner strace is put."""

    def __init__(self, stage, hub):
        super().__init__(stage, hub)
        self.environment |= {
            "HAPI_RUNNER_HEARTBEAT_INTERVAL": "600000",
            "HAPI_TEST_AFTER_FAILURE": "1000",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        self.log = self.place / "calls"
        self.hits: Counter[str] = Counter()
        self.straces: list[subprocess.Popen] = []

    def put_on(self, program, *faults):
        """Attach strace to a program with all its threads and children, and wait for that."""
        argv = [
            "strace",
            "-f",
            "-y",
            *(f"--inject={each}" for each in faults),
            "-e",
            f"trace={CHANGES},{LOOKS}",
        ]
        said = self.place / "strace"
        with said.open("wb") as file:
            strace = subprocess.Popen(
                [*argv, "-o", str(self.log), "-p", str(program.pid)], stderr=file
            )
        self.straces.append(strace)
        until(lambda: b"attached" in said.read_bytes() or strace.poll() is not None)
        assert b"attached" in said.read_bytes(), said.read_text()
        return strace

    def start_under(self, *faults):
        """A start with faults, until it serves or has ended; then its end."""
        self.set_trap("before:RunnerLock.try_acquire", "SIGSTOP")
        program = self.begin()
        until(
            lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED,
            what="the runner to stop",
        )
        strace = self.put_on(program, *faults)
        program.process.send_signal(signal.SIGCONT)
        try:
            until(
                lambda: not program.running or "Waiting for sessions" in program.output,
                AFTER_A_KILL,
            )
        except TimeoutError:
            calls = "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
            raise AssertionError(
                f"neither up nor over with {faults}: {program.output}\n{calls}"
            ) from None
        if program.running:
            # it answers, or could not say where, or dies of what it does next
            until(
                lambda: (
                    self.look() or self.state().get("pid") != program.pid or not program.running
                ),
                AFTER_A_KILL,
            )
        if program.running:
            program.process.send_signal(signal.SIGTERM if faults else signal.SIGKILL)
        return self.over(program, strace)

    def leave_under(self, *faults):
        """A leave with faults."""
        strace = self.put_on(self.program, *faults)
        self.program.process.send_signal(signal.SIGTERM)
        return self.over(self.program, strace)

    def spawn_under(self, *faults):
        """A session is started and stopped under faults, in the runner, in the holder and in the
        session."""
        before = set(self.by_attempt())
        strace = self.put_on(self.program, *faults)
        self.begin_spawn().join()
        for child in self.try_post("/list").get("children", []):
            if child["attempt"] not in before:
                self.try_post("/stop-session", {"sessionId": child["happySessionId"]})
        self.take_off(strace)

    def hand_over_under(self, *faults):
        """A hand-off under faults, in the old runner and in the new one.

        One of them is there afterwards, or none.
        """
        strace = self.put_on(self.program, *faults)
        failure = (self.look().get("handoff") or {}).get("lastFailure")
        self.install_another_build()

        def over():
            runners, seen = self.runners(), self.look()
            if not runners or not seen:
                return not runners
            handoff = seen["handoff"]
            return (
                runners == [seen["pid"]]
                and not handoff["underWay"]
                and (seen["current"] or handoff["lastFailure"] != failure)
            )

        until(over, 2 * AFTER_A_KILL, f"an end of the hand-off with {faults}")
        self.take_off(strace)

    def take_off(self, strace):
        """The processes go on without strace."""
        strace.terminate()
        try:
            strace.wait(5.0)
        except subprocess.TimeoutExpired:  # it waits for one that is dying
            strace.kill()
            strace.wait()

    def over(self, program, strace):
        code = program.exit_code(AFTER_A_KILL)
        strace.wait(AFTER_A_KILL)
        return code

    def calls(self) -> list[tuple[str, int, str]]:
        """The calls on files of the home that were seen: name, which of its name, what."""
        count: Counter[tuple[str, str]] = Counter()  # strace counts for each thread
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if match := CALL.match(line):
                thread, name, what = match.groups()
                count[thread, name] += 1
                if str(self.home.path) in what:
                    found.append((name, count[thread, name], what.replace(str(self.home.path), "")))
        return found

    def note_hits(self, fault: str) -> None:
        for line in self.log.read_text(errors="replace").splitlines():
            if "(INJECTED)" in line or "+++ killed by SIGKILL" in line:
                self.hits[fault] += 1


def faults_for(calls, phase, shared=""):
    """Each point with its faults: a kill at each call, the errors at each that changes something.

    By default a kill at each that changes something, and an error at every third of these. Calls
    named in `shared` are not made to fail: the same number is another file's in another process.
    """
    found: list[tuple[str, str]] = []
    errors = cycle((*(each for error in ERRORS for each in ([error], [], [])),))
    for name, number, what in calls:
        changes = name in CHANGES.split(",")
        kinds = [
            f"error={each}"
            for each in (ERRORS if ALL else next(errors))
            if changes and name not in shared
        ]
        kinds += ["signal=KILL"] if ALL or changes else []
        found += [(f"{name}:{kind}:when={number}", f"{phase}: {name} {what}") for kind in kinds]
    return found


def part(cases):
    """As many of the cases as HAPI_FAULTS asks for, by chance."""
    return random.Random(SEED).sample(cases, round(len(cases) * ALL / 1000)) if ALL else cases


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_hub(tmp_path_factory.mktemp("hub")) as address:
        yield address


@pytest.fixture
def machines(on_stage, tmp_path):
    """Two of them, without a hub, to be used at once."""
    made = [
        Struck(on_stage(Stage(tmp_path / name)), "http://127.0.0.1:1") for name in ("one", "other")
    ]
    yield made
    for machine in made:
        machine.release_strangers()
        for strace in machine.straces:  # of a test that failed
            strace.kill()
            strace.wait()


def test_whichever_call_of_a_start_or_leave_fails_the_next_start_works__G3_S01_S02_S03_S04_S13_L13(
    machines, capsys
):
    """Lock and state; a session lives all the time."""
    first = machines[0]
    assert first.start_under() in (0, -signal.SIGKILL)
    starting = faults_for(first.calls(), "start")
    first.come_up()
    first.leave_under()
    leaving = faults_for(first.calls(), "leave")
    cases = part(list(zip_longest(starting, leaving)))
    taken = []

    def strike(machine, cases):
        machine.come_up()
        machine.begin_spawn().join()
        for start, leave in cases:
            if leave is not None:
                code = machine.leave_under(leave[0])
                machine.note_hits(leave[0].split(":")[1])
                assert code in (0, -signal.SIGKILL), leave
            else:
                machine.program.end(signal.SIGKILL)
            if start is not None:
                code = machine.start_under(start[0])
                machine.note_hits(start[0].split(":")[1])
                assert code in (0, 1, -signal.SIGKILL), start
                assert "Traceback" not in machine.program.output, (start, machine.program.output)
            program = machine.come_up()
            machine.is_sound(program.pid, f"{leave}, {start}")
            taken.append(machine.slowest)
        machine.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(strike, machines, [cases[: len(cases) // 2], cases[len(cases) // 2 :]]))
    hits = sum((machine.hits for machine in machines), Counter())
    assert sum(hits.values()) >= 60, hits
    told = ", ".join(
        f"{kind.removeprefix('error=').removeprefix('signal=')} {number}"
        for kind, number in sorted(hits.items())
    )
    with capsys.disabled():
        print(
            f" [{sum(hits.values())} faults: {told}; "
            f"the slowest next start took {max(taken):.1f} s]",
            end="",
        )


@pytest.mark.parametrize("what", ["spawn_under", "hand_over_under"])
def test_whichever_call_of_a_spawn_or_hand_off_fails_sessions_are_known__G3_S01_S02_S11_S13_C14_H02(
    machines, hub, what, capsys
):
    """The calls of the runners, of the holder and of the session; by default a few of them."""
    for machine in machines:
        machine.environment |= {"HAPI_API_URL": hub, "HAPI_RUNNER_HEARTBEAT_INTERVAL": "100"}
    first = machines[0]
    first.come_up()
    first.begin_spawn().join()
    until(lambda: first.look()["hub"]["phase"] == "connected" and first.look()["current"])
    getattr(first, what)()
    cases = list(dict.fromkeys(faults_for(first.calls(), what, "write openat bind")))
    cases = part(cases) if ALL else random.Random(SEED).sample(cases, 5)
    for pid in first.runners():
        os.kill(pid, signal.SIGKILL)

    def strike(machine, cases):
        for fault, told in cases:
            if not machine.runners() or what == "hand_over_under":
                for pid in machine.runners():
                    os.kill(pid, signal.SIGKILL)
                until(lambda: not machine.runners())
                machine.come_up()
            until(
                lambda: machine.look()["hub"]["phase"] == "connected" and machine.look()["current"],
                AFTER_A_KILL,
            )
            getattr(machine, what)(fault)
            machine.note_hits(fault.split(":")[1])
            if not machine.runners():
                machine.come_up()
            (pid,) = machine.runners()
            machine.is_sound(pid, f"{fault}, {told}")
        if not machine.runners():
            machine.come_up()
        machine.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(strike, machines, [cases[::2], cases[1::2]]))
    hits = sum((machine.hits for machine in machines), Counter())
    with capsys.disabled():
        print(f" [{len(cases)} faults, {sum(hits.values())} times met, seed {SEED}]", end="")
