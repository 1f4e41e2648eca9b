"""The commands of docs/operating.md for restoring, moving, changing and uninstalling, run as they
stand there."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from attrs import define

from tests.support.paths import ROOT
from tests.support.programs import Program, Stage, alive, free_port, until

pytestmark = [pytest.mark.program, pytest.mark.peer("curl")]
HAPI = [sys.executable, "-m", "hapi"]
MANUAL = ROOT / "docs/operating.md"


def commands(name: str) -> str:
    """The block of commands that the manual marks with `name`."""
    pattern = rf"<!-- tried: {re.escape(name)} -->\n```sh\n(.*?)```"
    found = re.search(pattern, MANUAL.read_text(), re.DOTALL)
    assert found is not None, f"{MANUAL} has no commands for {name}"
    return found[1]


@define
class Machine:
    """A machine of one user, without any HAPI variable: its home is ~/.hapi."""

    stage: Stage
    name: str

    @property
    def user(self) -> Path:
        return self.stage.directory(self.name)

    @property
    def home(self) -> Path:
        return self.user / ".hapi"

    def run(self, *argv: str, stdin: str = "", **more: str) -> str:
        """The output of a command that has to succeed."""
        answers = self.stage.path / "answers"
        answers.write_text(stdin)
        with answers.open() as given:
            done = self.stage.start(
                f"{self.name}-{len(self.stage.programs)}",
                list(argv),
                {"HOME": str(self.user), **more},
                cwd=self.stage.directory("cwd"),
                stdin=given.fileno(),
            )
        answers.unlink()
        assert done.exit_code(180) == 0, done.output
        return done.output

    def follow(self, name: str, *changes: tuple[str, str], stdin: str = "") -> str:
        """Run the manual's commands `name`, with other paths and ports."""
        text = commands(name)
        for old, new in (("/backups", str(self.stage.directory("backups"))), *changes):
            text = text.replace(old, new)
        return self.run("sh", "-euc", text, stdin=stdin)

    def serve(self, port: int) -> Program:
        hub = self.stage.start(
            f"hub-{len(self.stage.programs)}",
            [*HAPI, "hub", "--port", str(port)],
            {"HOME": str(self.user)},
        )
        hub.ready(lambda: "Hub listens on" in hub.output)
        return hub

    @property
    def token(self) -> str:
        return str(json.loads((self.home / "settings.json").read_text())["cliApiToken"])

    def is_registered(self, url: str) -> bool:
        status = json.loads(self.run(*HAPI, "runner", "status", "--json"))
        hub = status["hub"]
        return (status["registered"], hub["url"], hub["phase"]) == (True, url, "connected")

    def sessions(self, url: str) -> list[str]:
        """The ids of the sessions that the hub has, asked with the token of this machine."""
        script = (
            "token=$(curl -sSf $0/api/auth -H 'Content-Type: application/json' -d @- | "
            "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"token\"])'); "
            'curl -sSf "$0/api/sessions" -H "Authorization: Bearer $token"'
        )
        answer = self.run("sh", "-euc", script, url, stdin=json.dumps({"accessToken": self.token}))
        return sorted(session["id"] for session in json.loads(answer)["sessions"])


def test_restore_move_and_change_go_as_the_manual_says(stage: Stage) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    main, other, new = (Machine(stage, name) for name in ("main", "other", "new"))
    hub = main.serve(port)
    main.run(*HAPI, "runner", "start")
    other.run(*HAPI, "auth", "login", "--url", url, stdin=main.token)
    other.run(*HAPI, "runner", "start")
    walk = str(ROOT / "docs/examples/rest.sh")
    main.run("sh", walk, url, str(stage.directory("work")), CLI_API_TOKEN=main.token)
    (before,) = main.sessions(url)

    # Backup and restore, of the whole home.
    main.follow("backup")
    assert hub.end() == 0
    main.home.rename(main.user / "lost")
    for path in stage.directory("backups").iterdir():
        path.chmod(0o644)
    main.follow("restore")
    main.follow("restore settings")
    hub = main.serve(port)
    for name in ("hub.db", "settings.json", "jwt-secret.json"):
        assert (main.home / name).stat().st_mode & 0o777 == 0o600
    assert main.sessions(url) == [before]
    until(lambda: other.is_registered(url), what="the runner on the other machine")

    # Another token.
    old_token = main.token
    main.follow("new token")
    assert main.token != old_token
    hub.end()
    hub = main.serve(port)
    other.follow("new token for a runner", stdin=main.token)
    until(lambda: other.is_registered(url), what="the runner with the new token")

    # Another port: for a runner of the hub's home, and for one elsewhere.
    hub.end()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    hub = main.serve(port)
    other.follow("new address", ("http://127.0.0.1:3107", url), stdin=main.token)
    until(lambda: other.is_registered(url), what="the runner at the new address")

    # Another machine.
    hub.end()
    assert main.token in main.follow("move away")
    new.follow("move here", stdin=main.token)
    hub = new.serve(port)
    assert new.sessions(url) == [before]
    until(lambda: other.is_registered(url), what="the runner at the moved hub")
    assert "machineId" not in json.loads((new.home / "settings.json").read_text())
    assert hub.end() == 0


def test_a_runner_of_the_hubs_home_follows_it_to_another_port_as_the_manual_says(
    stage: Stage,
) -> None:
    main = Machine(stage, "main")
    hub = main.serve(free_port())
    main.run(*HAPI, "runner", "start")
    hub.end()
    port = free_port()
    main.serve(port)
    main.follow("new port")
    until(lambda: main.is_registered(f"http://127.0.0.1:{port}"), what="the runner at the new port")


def test_after_the_commands_for_uninstalling_nothing_runs(stage: Stage) -> None:
    main = Machine(stage, "main")
    hub = main.serve(free_port())
    main.run(*HAPI, "runner", "start")
    state = json.loads((main.home / "runner.state.json").read_text())
    spawn = [
        # curl refuses a path longer than a socket's
        *(
            "curl",
            "-sSf",
            "--unix-socket",
            os.path.relpath(main.home / "runner.sock", stage.directory("cwd")),
        ),
        *("-H", "Content-Type: application/json", "http://runner/spawn-session"),
        *("-d", json.dumps({"directory": str(stage.directory("work")), "agent": "demo"})),
    ]
    for _ in range(2):
        assert json.loads(main.run(*spawn))["success"]
    listed = json.loads(main.run(*HAPI, "runner", "list", "--json"))
    pids = [child["pid"] for child in (listed["children"] if isinstance(listed, dict) else listed)]
    assert len(pids) == 2
    main.follow("end everything")
    until(lambda: not any(map(alive, [state["pid"], *pids])), 30)
    hub.end()
    assert not [name for name in os.listdir(main.home) if name.endswith(".sock")]
