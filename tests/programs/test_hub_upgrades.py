"""Hubs of two versions on one database in PostgreSQL."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.peers import OUR_HAPI, Refused, User, quietly
from tests.support.postgres import PASSWORD, ROLE, PostgresServer
from tests.support.programs import CANARY, Program, Stage, free_port, until

pytestmark = [pytest.mark.program, pytest.mark.postgres]
DATABASE = "upgrades"
NEXT = [sys.executable, "-m", "tests.support.changed_program"]


class Hubs:
    def __init__(self, server: PostgresServer, stage: Stage) -> None:
        self.server, self.stage = server, stage
        server.create_database(DATABASE)

    def start(self, name: str, program: list[str]) -> tuple[Program, User]:
        port = free_port()
        environment = {
            "HAPI_DATABASE": f"postgresql://{ROLE}@127.0.0.1:{self.server.port}/{DATABASE}",
            "PGPASSWORD": PASSWORD,
            "CLI_API_TOKEN": CANARY,
            "HAPI_HOME": str(self.stage.directory(name)),
        }
        words = ["hub", "--port", str(port), "--name", name]
        words += ["--advertise", f"http://127.0.0.1:{port}", "--drain-seconds", "1"]
        started = self.stage.start(name, [*program, *words], environment)
        return started, User(f"http://127.0.0.1:{port}", CANARY, CANARY)

    def serving(self, name: str, program: list[str]) -> tuple[Program, User]:
        started, user = self.start(name, program)
        started.ready(lambda: quietly(lambda: user.get("/ready")))
        return started, user

    def refused(self, name: str, program: list[str]) -> str:
        """What the hub says that does not start."""
        started, _ = self.start(name, program)
        assert started.exit_code(60) == 1, started.output
        (line,) = started.output.splitlines()
        return line


@pytest.fixture
def hubs(
    postgres_servers: Callable[..., PostgresServer],
    on_stage: Callable[[Stage], Stage],
    tmp_path: Path,
) -> Hubs:
    return Hubs(postgres_servers(True), on_stage(Stage(tmp_path / "stage")))


def test_a_hub_that_would_break_an_older_one_does_not_start_beside_it(hubs: Hubs) -> None:
    older, _ = hubs.serving("older", OUR_HAPI)
    told = hubs.refused("newer", [*NEXT, "--destructive"])
    assert "is in use by an older hub (older), which could not work with the tables" in told
    assert "stop it first" in told
    hubs.serving("beside", [*NEXT, "--next"])
    assert older.running
    assert older.end(seconds=30) == 0


def test_an_older_hub_that_stood_still_does_not_serve_tables_that_a_newer_one_has_changed(
    hubs: Hubs,
) -> None:
    older, user = hubs.serving("older", OUR_HAPI)
    os.kill(older.pid, signal.SIGSTOP)
    newer = [*NEXT, "--destructive"]

    def takes_over() -> bool:
        """As a service manager: it starts the hub again until the older one has been silent."""
        started, its_user = hubs.start("newer", newer)
        while started.running:
            if quietly(lambda: its_user.get("/ready")):
                return True
            time.sleep(0.1)  # between two looks: it becomes ready, or it ends
        return False

    until(takes_over, 60.0, "the newer hub to start")
    os.kill(older.pid, signal.SIGCONT)
    older.ready(lambda: "this hub knows up to" in older.output)
    assert "start the newer hub" in older.output
    told = until(lambda: user.get("/api/hub-status").get("problem"))
    assert "start the newer hub" in told
    with pytest.raises(Refused, match="503"):
        user.get("/api/sessions")
    assert "start the newer hub" in hubs.refused("another", OUR_HAPI)
