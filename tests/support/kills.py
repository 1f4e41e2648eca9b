"""A home whose runner is killed again and again, and what must be true of it whenever one has come
up afterwards."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import psutil

from hapi.attempts import AttemptFolder, attempts
from tests.support.machine import Machine
from tests.support.paths import SUPPORT
from tests.support.programs import (
    CANARY,
    ROOT,
    Program,
    Stage,
    alive,
    free_port,
    level,
    marked,
    until,
)

SCRIPT = SUPPORT / "kill_runner.py"
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # root chooses the next pid by it
SLEEPER = ["/bin/sleep", "3600"]
# seconds for whatever must come by itself; seen here: 1. A run of the release level may wait behind
# other work of the machine for hours
AFTER_A_KILL = 300.0 if level(0, 1000) else 30.0


@contextlib.contextmanager
def running_hub(path: Path) -> Iterator[str]:
    """A hub of ours; its address."""
    stage, port = Stage(path), free_port()
    environment = {"HAPI_HOME": str(stage.path / "hub"), "CLI_API_TOKEN": CANARY}
    program = stage.start(
        "hub",
        [sys.executable, "-m", "hapi", "hub", "--port", str(port)],
        environment,
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output)
    yield f"http://127.0.0.1:{port}"
    stage.end()


class Doomed(Machine):
    """A machine with a runner that can be made to fall at a point, and with strangers beside it."""

    def __init__(self, stage: Stage, hub: str) -> None:
        super().__init__(stage, hub)
        self.place = stage.path
        self.trap = self.place / "trap"
        self.site = self.place / "site"
        for package in ("hapi", "twisted"):
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(ROOT / package, self.site / package, ignore=ignored)
        self.environment |= {
            "PYTHONPATH": str(self.site),
            "HAPI_TEST_TRAP": str(self.trap),
            "HAPI_RUNNER_HEARTBEAT_INTERVAL": "100",
        }
        self.starts = self.builds = 0
        self.slowest = 0.0
        self.numbers = itertools.count()
        self.strangers = [
            subprocess.Popen(SLEEPER, env={**stage.base}, start_new_session=True) for _ in range(2)
        ]
        self.program: Program | None = None

    # --- what is done to it

    def begin(self) -> Program:
        """Start a runner, and don't wait for it."""
        self.starts += 1
        argv = [sys.executable, str(SCRIPT), "runner", "start-sync"]
        self.program = self.stage.start(f"runner-{self.starts}", argv, self.environment)
        return self.program

    def come_up(self) -> Program:
        """Start a runner that must serve soon."""
        program = self.begin()
        program.ready(
            lambda: (
                self.state().get("pid") == program.pid and self.look().get("pid") == program.pid
            ),
            AFTER_A_KILL,
        )
        self.slowest = max(self.slowest, time.time() - psutil.Process(program.pid).create_time())
        return program

    def set_trap(self, point: str, how: str = "SIGKILL", pid: int = 0) -> None:
        whole = self.trap.with_suffix(".new")
        whole.write_text(f"{point} {how} {pid}")
        whole.rename(self.trap)

    def has_fallen(self) -> bool:
        return not self.trap.exists()

    def falls(self, program: Program, point: str) -> None:
        """Wait until `program` has died of the trap at `point`."""
        try:
            assert program.exit_code(AFTER_A_KILL) == -signal.SIGKILL, f"{point}\n{program.output}"
        except subprocess.TimeoutExpired:
            raise AssertionError(f"nobody came to {point}\n{program.output}") from None
        assert self.has_fallen(), point

    def try_post(self, path: str, body: object = None) -> dict:
        """A caller whose runner may be killed while it asks."""
        try:
            return self.post(path, body)
        except (OSError, HTTPException, ValueError):
            return {}

    def look(self) -> dict:
        return self.try_post("/status")

    def begin_spawn(self, kind: str = "patient") -> threading.Thread:
        body = {"directory": str(self.place / "work" / f"{kind}-{next(self.numbers)}")}
        caller = threading.Thread(target=self.try_post, args=("/spawn-session", body))
        caller.start()
        return caller

    def install_another_build(self) -> None:
        self.builds += 1
        with (self.site / "hapi/__init__.py").open("a") as file:
            file.write(f"BUILD = {self.builds}\n")

    # --- what is seen of it from outside

    def ours(self) -> list[tuple[psutil.Process, dict[str, str]]]:
        """Every process that belongs to this home, with its environment."""
        found = []
        for process in marked(self.stage.mark):
            with contextlib.suppress(psutil.Error, OSError):
                environment = process.environ()
                if environment.get("HAPI_HOME") == str(self.home.path):
                    found.append((process, environment))
        return found

    def runners(self) -> list[int]:
        found = []
        for process, environment in self.ours():
            with contextlib.suppress(psutil.Error):
                if "start-sync" in process.cmdline() and not environment.get(
                    "HAPI_ATTEMPT", ""
                ).startswith("2"):
                    found.append(process.pid)
        return found

    def living(self) -> dict[str, set[int]]:
        """Attempt → its processes, the holder excepted, as the kernel tells it."""
        found: dict[str, set[int]] = {}
        for process, environment in self.ours():
            with contextlib.suppress(psutil.Error):
                if (
                    attempt := environment.get("HAPI_ATTEMPT", "")
                ) and "start-sync" not in process.cmdline():
                    pids = found.setdefault(attempt, set())
                    if "hapi-holder" not in process.cmdline():
                        pids.add(process.pid)
        return found

    def by_attempt(self) -> dict[str, dict]:
        listed = self.post("/list")["children"]
        found = {child["attempt"]: child for child in listed}
        assert len(found) == len(listed), f"an attempt is listed twice: {listed}"
        assert len({child["happySessionId"] for child in listed}) == len(listed), (
            f"a session is listed twice: {listed}"
        )
        return found

    def journal(self) -> list[dict]:
        return [json.loads(line) for line in self.home.events.read_text().splitlines()]

    def folder(self, attempt: str) -> AttemptFolder:
        return AttemptFolder(self.home.attempts / attempt)

    def is_told(self) -> str:
        """What is not yet as it must be, "" when all is."""
        living, listed = self.living(), set(self.by_attempt())
        if set(living) != listed:
            return f"living {sorted(living)}, listed {sorted(listed)}"
        ended = Counter(line["attempt"] for line in self.journal() if line["event"] == "ended")
        for folder in attempts(self.home):
            if (folder.id in living) == (folder.end is not None):
                state = "living" if folder.id in living else "gone"
                return f"{folder.id} is {state}, and its end is {folder.end}"
            if ended[folder.id] != (folder.id not in living):
                return f"{folder.id} ended {ended[folder.id]} times by the journal"
        return ""

    def is_sound(self, pid: int, after: str = "") -> None:
        """Check everything that must be true when the runner `pid` is up."""
        seen: list[str] = [""]

        def told() -> bool:
            seen[0] = self.is_told()
            return not seen[0]

        try:
            until(told, AFTER_A_KILL)
        except TimeoutError:
            raise AssertionError(f"after {after}: {seen[0]}") from None
        assert self.runners() == [pid], after
        assert self.state()["pid"] == pid, after
        assert self.home.npm_lock.read_text() == str(pid), after
        assert f'"pid": {pid},' in self.home.runner_lock.read_text(), after
        assert [stranger.poll() for stranger in self.strangers] == [None] * len(self.strangers), (
            f"{after}: a stranger was ended"
        )
        self.files_are_whole(after)

    def files_are_whole(self, after: str) -> None:
        for path in self.home.path.rglob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                json.loads(path.read_text())
        left = [
            name
            for name in os.listdir(self.home.path)
            if name.startswith((".", "runner.state.json.lock."))
        ]
        assert all(name.split(".")[-2] == str(self.state()["pid"]) for name in left), (
            f"after {after}: left over {left}"
        )

    def occupy(self, pid: int) -> bool:
        """Start a stranger that gets this pid; False where nobody may choose."""
        for _ in range(200):
            if not os.access(LAST_PID, os.W_OK) or psutil.pid_exists(pid):
                return False
            LAST_PID.write_text(str(pid - 1))
            stranger = subprocess.Popen(SLEEPER, env={**self.stage.base}, start_new_session=True)
            self.strangers.append(stranger)
            if stranger.pid == pid:
                return True
        return False

    # --- the end

    def close(self) -> None:
        """Every session can be stopped, the runner leaves in order, and of the strangers nobody is
        missing."""
        assert self.program is not None
        for attempt, child in self.by_attempt().items():
            assert self.stop(child["happySessionId"]) == "stopped", attempt
        until(lambda: not self.living(), what="all sessions to be gone")
        (pid,) = self.runners()
        self.is_sound(pid, "stopping all")
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), AFTER_A_KILL)
        for path in (self.home.npm_lock, self.home.runner_state, self.home.runner_socket):
            assert not path.exists(), path
        assert not self.ours()

    def release_strangers(self) -> None:
        for stranger in self.strangers:
            stranger.kill()
            stranger.wait()


def fall_at(machine: Doomed, phase: str, point: str) -> None:
    """Let the runner of `machine` die at `point` of `phase`; afterwards none runs."""
    program = machine.program
    assert program is not None
    if phase == "start":
        program.end(signal.SIGKILL)
        machine.set_trap(point)
        program = machine.begin()
    elif phase == "spawn":
        machine.set_trap(point)
        machine.begin_spawn()
    elif phase == "stop":
        session = next(reversed(machine.listed()))
        machine.set_trap(point)
        threading.Thread(
            target=machine.try_post, args=("/stop-session", {"sessionId": session})
        ).start()
    elif phase == "beat":
        machine.set_trap(point)
    elif phase == "leave":
        machine.set_trap(point)
        program.process.send_signal(signal.SIGTERM)
    machine.falls(program, point)


def kill_at_random(machine: Doomed, rng: random.Random, longest: float) -> str:
    """Kill the runner after a while, in the middle of whatever it is asked for; what was done, in
    words."""
    program = (
        machine.program
        if machine.program is not None and machine.program.running
        else machine.begin()
    )
    assert program is not None
    told, asked = [], []
    for _ in range(rng.randrange(4)):
        match rng.choice(("spawn", "stop", "list")):
            case "spawn":
                asked.append(machine.begin_spawn(rng.choice(("patient", "patient-brood"))))
                told.append("spawn")
            case "stop" if listed := list(machine.try_post("/list").get("children", [])):
                body = {"sessionId": rng.choice(listed)["happySessionId"]}
                asked.append(
                    threading.Thread(target=machine.try_post, args=("/stop-session", body))
                )
                asked[-1].start()
                told.append("stop")
            case _:
                machine.try_post("/list")
    moment = rng.random() * longest
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.exit_code(moment)
    program.end(signal.SIGKILL)
    for each in asked:
        each.join(AFTER_A_KILL)
    return f"a kill {moment:.3f} s after {', '.join(told) or 'nothing'}"
