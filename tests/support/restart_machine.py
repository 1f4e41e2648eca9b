"""A home with a real runner, and a copy of the package that is upgraded under it."""

import fcntl
import json
import shutil
import subprocess
import sys
import urllib.request
from http.client import HTTPConnection, HTTPException
from urllib.error import HTTPError

import psutil
import pytest

from tests.support.machine import Machine
from tests.support.paths import SUPPORT
from tests.support.programs import CANARY, ROOT, Program, Stage, until

SCRIPT = SUPPORT / "handoff_runner.py"


class Installed(Machine):
    """A home, and a copy of the package that can be upgraded under its runner."""

    def __init__(self, stage: Stage, hub: str) -> None:
        super().__init__(stage, hub)
        self.site = stage.path / "site"
        for name in ("hapi", "twisted"):
            shutil.copytree(
                ROOT / name,
                self.site / name,
                ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"),
            )
        self.environment |= {
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HAPI_RUNNER_HEARTBEAT_INTERVAL": "150",
        }
        self.first = self.site / "hapi/__init__.py"
        self.good = self.first.read_text()

    def run(
        self,
        *flags: str,
        patience: float = 30.0,
        argv: list[str] | None = None,
        **environment: str,
    ) -> Program:
        """A runner that is registered and knows its build; `argv` is another way to start one."""
        argv = argv or [sys.executable, str(SCRIPT), str(patience), "runner", "start-sync", *flags]
        program = self.stage.start(
            f"runner-{len(self.stage.programs)}", argv, self.environment | environment
        )
        program.ready(
            lambda: self.state().get("pid") == program.pid and self.look().get("registered")
        )
        assert program.ready(lambda: self.look()["hub"]["phase"] == "connected")
        assert self.look()["current"] is True
        return program

    def look(self) -> dict:
        try:
            return self.post("/status")
        except (OSError, ValueError, HTTPException):
            return {}

    def figures(self) -> str:
        """What `/metrics` answers."""
        state = self.state()
        asked = HTTPConnection("127.0.0.1", state["httpPort"], timeout=20)
        asked.request(
            "GET", "/metrics", headers={"authorization": f"Bearer {state['controlToken']}"}
        )
        return asked.getresponse().read().decode()

    def is_calm(self) -> bool:
        """The running build is the installed one, and nobody is being replaced."""
        seen = self.look()
        return bool(seen and seen["current"] and not seen["handoff"]["underWay"])

    def install(self, more: str) -> None:
        """Another build: the package, and `more` at the end of what is loaded first."""
        self.first.write_text(f"{self.good}\n{more}\n")

    def command(self, *words: str) -> subprocess.CompletedProcess:
        environment = {**self.stage.base, **self.environment}
        argv = [sys.executable, "-m", "hapi", *words]
        return subprocess.run(
            argv,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.stage.path,
        )

    def new_pid(self, old: int) -> int:
        return until(
            lambda: (pid := self.look().get("pid")) != old and pid, what="a replacement to answer"
        )

    def child_of(self, pid: int) -> psutil.Process:
        """The replacement of the runner `pid`, as soon as it is there."""

        def look():
            found = [
                child
                for child in psutil.Process(pid).children()
                if str(SCRIPT) in " ".join(child.cmdline())
            ]
            return found[0] if found else None

        return until(look, what="a replacement to be started")

    def assert_owned_by(self, pid: int) -> None:
        assert self.home.npm_lock.read_text() == str(pid)
        assert self.state()["pid"] == pid
        assert f'"pid": {pid},' in self.home.runner_lock.read_text()
        with self.home.runner_lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def assert_left(self) -> None:
        assert not self.home.npm_lock.exists()
        assert not self.home.runner_state.exists()
        assert not self.home.runner_socket.exists()


# At the end of the runner's service: what befalls a runner at a step in the real home, but in no
# trial start.
IN_THE_REAL_HOME = """
import os, signal, sys
_step = RunnerService._step
def _befall(self, at):
    _step(self, at)
    if at == {at!r} and "/.trial-" not in os.environ["HAPI_HOME"]:
        print("RuntimeError: only in the real home", file=sys.stderr, flush=True)
        {act}
RunnerService._step = _befall
_registered = RunnerService._is_registered
def _befall_registered(self):
    _befall(self, "registered")
    _registered(self)
RunnerService._is_registered = _befall_registered
"""


def change_service(machine, more):
    path = machine.site / "hapi/runner/service.py"
    path.write_text(f"{(ROOT / 'hapi/runner/service.py').read_text()}\n{more}")


def stop_replacement_at(machine, at):
    """Have the next replacement of its runner stop itself at that step, in the real home."""
    here = machine.stage.path / "here"
    act = f"open({str(here)!r}, 'w').close(); os.kill(os.getpid(), 19)"
    change_service(machine, IN_THE_REAL_HOME.format(at=at, act=act))


def stopped_replacement(machine, pid):
    """The replacement of the runner `pid`, once it has stopped itself."""
    until((machine.stage.path / "here").exists, what="the replacement at that step")
    (new,) = (child for child in psutil.Process(pid).children() if is_runner(child))
    until(lambda: new.status() == psutil.STATUS_STOPPED, what="its stop")
    return new


def is_runner(process):
    return "start-sync" in process.cmdline()


def restart_by_the_page(hub, machine):
    """What the button of the page asks for; the answer, or the error's body."""
    login = ask(f"{hub}/api/auth", {"accessToken": CANARY})
    name = machine.look()["machineId"]
    return ask(f"{hub}/api/machines/{name}/restart-runner", {}, login["token"])


def ask(url, body, token=""):
    request = urllib.request.Request(url, json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except HTTPError as error:
        return json.load(error)
