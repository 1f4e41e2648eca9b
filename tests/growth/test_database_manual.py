"""The commands of docs/growing.md that set a database up, back it up and restore it, run as they
stand there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from tests.support.paths import ROOT
from tests.support.peers import OUR_HAPI, User, quietly
from tests.support.postgres import PostgresServer, postgres_programs
from tests.support.programs import CANARY, Program, Stage, free_port

pytestmark = [pytest.mark.program, pytest.mark.postgres]
MANUAL = (ROOT / "docs/growing.md").read_text()
NAME, PASSWORD = "team", "a long random password"  # the server of the tests has a role hapi


def block(language: str, marker: str = "") -> str:
    found = re.search(rf"{marker}```{language}\n(.*?)```", MANUAL, re.DOTALL)
    assert found is not None
    return found[1]


class Machine:
    def __init__(self, server: PostgresServer, stage: Stage) -> None:
        self.server, self.stage = server, stage
        programs = postgres_programs()
        assert programs is not None
        self.environment = {
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "PGPASSWORD": PASSWORD,
            "HAPI_DATABASE": f"postgresql://{NAME}@127.0.0.1:{server.port}/{NAME}",
        }

    def set_up(self, *, without_role: bool = False) -> None:
        for statement in re.sub(r"\bhapi\b", NAME, block("sql")).split(";"):
            if statement.strip() and not (without_role and "ROLE" in statement):
                self.server.execute(statement)

    def run(self, marker: str) -> None:
        commands = block("sh", f"<!-- tried: {marker} -->\n")
        done = self.stage.start(marker, ["sh", "-euc", commands], self.environment)
        assert done.exit_code(120) == 0, done.output

    def hub(self, name: str) -> tuple[Program, User]:
        port = free_port()
        given = {**self.environment, "HAPI_HOME": str(self.stage.directory(name))}
        program = self.stage.start(name, [*OUR_HAPI, "hub", "--port", str(port)], given)
        user = User(f"http://127.0.0.1:{port}", CANARY)
        program.ready(lambda: quietly(lambda: user.get("/ready")))
        return program, user


def test_a_dump_that_is_restored_has_the_sessions_and_the_token(
    postgres_servers: Callable[..., PostgresServer], on_stage: Callable[[Stage], Stage], tmp_path
) -> None:
    machine = Machine(postgres_servers(True), on_stage(Stage(tmp_path / "stage")))
    machine.set_up()
    machine.environment["CLI_API_TOKEN"] = CANARY
    hub, user = machine.hub("first")
    for number in range(3):
        body = {"tag": f"t{number}", "metadata": {"path": "/p", "host": "h"}, "agentState": None}
        User(user.url, CANARY, CANARY).post("/cli/sessions", body)
    before = sorted(session["id"] for session in user.login().sessions())
    assert len(before) == 3
    machine.run("pg_dump")
    cluster = machine.server.execute("SELECT cluster_id FROM meta", NAME)
    assert hub.end() == 0

    machine.server.drop_database(NAME)
    machine.set_up(without_role=True)
    machine.run("pg_restore")
    del machine.environment["CLI_API_TOKEN"]  # the hub takes that of the database
    _, user = machine.hub("second")
    assert sorted(session["id"] for session in user.login().sessions()) == before
    assert machine.server.execute("SELECT cluster_id FROM meta", NAME) != cluster
