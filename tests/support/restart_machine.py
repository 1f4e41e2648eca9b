"""A home with a real runner, and a copy of the package that is upgraded under it."""

import fcntl
import shutil
import subprocess
import sys
from http.client import HTTPConnection, HTTPException

import psutil
import pytest

from tests.support.machine import Machine
from tests.support.paths import SUPPORT
from tests.support.programs import ROOT, Program, Stage, until

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
