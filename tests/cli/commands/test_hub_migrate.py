"""`hapi hub migrate`: what it prints, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from twisted.internet.task import Clock

from hapi.cli.app import hapi as root
from hapi.cli.commands.hub import migrate
from hapi.home import Home
from hapi.hub.lock import HubLock
from hapi.hub.store.postgres.connection import connect
from hapi.hub.store.postgres.locks import WRITING
from hapi.hub.store.postgres.schema import MIGRATIONS
from hapi.hub.store.postgres.tables import prepare
from hapi.hub.store.sqlite import SqliteStore
from hapi.hub.store.transfer.ends import rows_sentence
from hapi.hub.store.transfer.transfer import Report
from tests.support.filled_store import fill
from tests.support.peers import User
from tests.support.postgres import PASSWORD
from tests.support.programs import CANARY, Program, Stage, until
from tests.support.store_stage import wait

pytestmark = pytest.mark.postgres
HAPI = [sys.executable, "-m", "hapi"]


@pytest.fixture
def file(home: Home) -> Path:
    """The database of a hub that was stopped."""
    path = home.path / "hub.db"
    store = SqliteStore(path, Clock())
    wait(store.open())
    fill(store)
    wait(store.close())
    return path


@pytest.fixture
def run(home: Home) -> Callable[..., Any]:
    def invoke(*words: str) -> Any:
        environ = {"HAPI_HOME": str(home.path), "HAPI_DATABASE": "", "DB_PATH": ""}
        return CliRunner().invoke(root, ["hub", "migrate", *words], env=environ)

    return invoke


def sessions(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT to_regclass('sessions')").fetchone()
        if found == (None,):
            return 0
        (count,) = connection.execute("SELECT count(*) FROM sessions").fetchone()  # type: ignore
        return int(count)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_says_what_was_copied_and_how_to_go_on(
    run: Callable[..., Any], file: Path, database_url: str, tmp_path: Path
) -> None:
    before = digest(file)
    done = run("--from", str(file), "--to", database_url)
    assert (done.exit_code, done.stderr) == (0, "")
    first, rows, unchanged, command = done.stdout.splitlines()
    assert first.startswith(f"Copied {file} to {database_url} in ")
    assert "4 sessions" in rows
    assert rows.endswith("; read back and compared.")
    assert unchanged == f"{file} was not changed. Start the hub with the new database:"
    assert command == f"  hapi hub --database '{database_url}'"
    assert sessions(database_url) == 4
    assert digest(file) == before

    back = run("--from", database_url, "--to", str(tmp_path / "back.db"), "--json")
    assert back.exit_code == 0
    facts = json.loads(back.stdout)
    assert (facts["from"], facts["to"]) == (database_url, str(tmp_path / "back.db"))
    assert facts["rows"]["sessions"] == 4
    assert facts["replaced"] == 0


def test_nothing_is_done_while_a_hub_runs(
    run: Callable[..., Any], home: Home, file: Path, database_url: str, tmp_path: Path
) -> None:
    lock = HubLock(home, file)
    lock.acquire()
    for words in (
        ("--from", str(file), "--to", database_url),
        ("--from", database_url, "--to", str(tmp_path / "back.db")),
    ):
        refused = run(*words)
        assert refused.exit_code == 3
        assert "in use by" in refused.stderr
    lock.release()
    assert sessions(database_url) == 0


def test_a_database_of_each_kind_is_needed(
    run: Callable[..., Any], file: Path, database_url: str
) -> None:
    for words in (
        ("--from", str(file), "--to", "other.db"),
        ("--from", database_url, "--to", database_url),
    ):
        refused = run(*words)
        assert refused.exit_code == 1
        assert "one of --from and --to must be a file and the other one a post" in refused.stderr
    assert run("--from", str(file)).exit_code == 2
    assert run("--from", str(file), "--to", "postgresql://h:secret@").exit_code == 2
    assert "secret" not in run("--from", str(file), "--to", "postgresql://h:secret@").output


def test_a_directory_that_does_not_exist_is_named(
    run: Callable[..., Any], file: Path, database_url: str, tmp_path: Path
) -> None:
    refused = run("--from", database_url, "--to", str(tmp_path / "none" / "back.db"))
    sentence = f"hapi: the directory {tmp_path / 'none'} of --to does not exist\n"
    assert (refused.exit_code, refused.stderr) == (1, sentence)
    refused = run("--from", str(tmp_path / "none" / "hub.db"), "--to", database_url)
    assert refused.stderr == f"hapi: the directory {tmp_path / 'none'} of --from does not exist\n"


def test_the_rows_of_a_database_are_counted_in_words() -> None:
    counts = {"machines": 1, "messages": 0, "token_use": 1, "scratch_entries": 1, "sessions": 2}
    assert rows_sentence(counts) == "1 machine, 1 token use, 1 scratch entry, 2 sessions"
    assert rows_sentence({"scratch_entries": 3, "share_links": 1}) == (
        "3 scratch entries, 1 share link"
    )


def test_a_password_is_never_shown(
    run: Callable[..., Any], file: Path, postgres_servers: Callable[..., Any]
) -> None:
    server = postgres_servers(port=True)
    server.create_database("one")
    done = run("--from", str(file), "--to", server.tcp_url("one"))
    assert done.exit_code == 0
    assert PASSWORD not in done.output
    assert f"postgresql://hapi@127.0.0.1:{server.port}/one" in done.stdout
    again = run("--from", str(file), "--to", server.tcp_url("one"))
    assert (again.exit_code, PASSWORD in again.output) == (1, False)
    assert "is not empty" in again.stderr
    wrong = run("--from", str(file), "--to", server.tcp_url("one", password="wrong-one"))
    assert wrong.exit_code == 1
    assert "password authentication failed" in wrong.stderr
    assert "wrong-one" not in wrong.output


def test_progress_is_one_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(migrate, "REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = migrate._Progress()
    progress.show(Report("Copying", "token_use", 1000, 20000))
    progress.show(Report("Comparing", "messages", 0, 5))
    progress.clear()
    shown = capsys.readouterr().err.split("\r")
    assert shown == [
        "",
        "Copying token use: 1,000 of 20,000",
        "Comparing messages: 0 of 5".ljust(34),
        " " * 26,
        "",
    ]


@pytest.mark.program
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_an_interruption_leaves_both_databases_as_they_were(
    stage: Stage,
    run: Callable[..., Any],
    home: Home,
    file: Path,
    database_url: str,
    how: signal.Signals,
    code: int,
) -> None:
    with closing(connect(database_url, "a test")) as connection:
        prepare(connection, "the database", MIGRATIONS)
    before = digest(file)
    words = ["hub", "migrate", "--from", str(file), "--to", database_url]
    with psycopg.connect(database_url) as holder:
        # Rows of this table cannot be written: the others are copied by then.
        holder.execute("LOCK TABLE token_use IN SHARE MODE")
        program = stage.start("migrate", [*HAPI, *words], {"HAPI_HOME": str(home.path)})
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM"
        program.ready(
            lambda: bool(
                holder.execute(
                    f"{waiting} pg_database WHERE datname = current_database())"
                ).fetchone()
            )
        )
        os.kill(program.pid, how)
        assert program.exit_code(60) == code
    assert sessions(database_url) == 0
    assert digest(file) == before
    assert run("--from", str(file), "--to", database_url).exit_code == 0
    assert sessions(database_url) == 4


@pytest.mark.program
def test_a_migration_that_was_killed_when_it_had_made_the_tables_is_run_again(
    stage: Stage, run: Callable[..., Any], home: Home, file: Path, database_url: str
) -> None:
    words = ["hub", "migrate", "--from", str(file), "--to", database_url]
    with psycopg.connect(database_url, autocommit=True) as holder:
        # It waits for this lock before it copies anything.
        holder.execute("SELECT pg_advisory_lock(%s)", (WRITING,))
        program = stage.start("migrate", [*HAPI, *words], {"HAPI_HOME": str(home.path)})
        made = "SELECT to_regclass('token_use') IS NOT NULL"
        program.ready(lambda: holder.execute(made).fetchone() == (True,))
        os.kill(program.pid, signal.SIGKILL)
        assert program.exit_code(60) == -9
    assert sessions(database_url) == 0
    done = run("--from", str(file), "--to", database_url)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sessions(database_url) == 4
    again = run("--from", str(file), "--to", database_url)
    assert again.exit_code == 1
    assert "is not empty (" in again.stderr
    assert "4 sessions" in again.stderr
    assert "use another one, or --force to delete what it has" in again.stderr


@pytest.mark.program
def test_a_hub_goes_on_in_the_other_database_and_keeps_its_people_logged_in(
    stage: Stage, home: Home, database_url: str, run: Callable[..., Any]
) -> None:
    environ = {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": CANARY}

    def started(name: str, *more: str) -> tuple[Program, User]:
        words = [*HAPI, "hub", "--port", "0", "--json", *more]
        hub = stage.start(name, words, environ)
        hub.ready(lambda: '"url"' in hub.output)
        return hub, User(str(json.loads(hub.output)["url"]), CANARY)

    hub, user = started("before")
    user.login()
    token = user.jwt
    hub.end()
    store = SqliteStore(home.path / "hub.db", Clock())
    wait(store.open())
    fill(store)
    wait(store.close())
    assert run("--from", str(home.path / "hub.db"), "--to", database_url).exit_code == 0

    hub, user = started("after", "--database", database_url)
    user.jwt = token
    until(lambda: user.call("GET", "/ready"))
    ids = {each["id"] for each in user.get("/api/sessions")["sessions"]}
    assert ids == {"long", "copy", "new"}
    assert user.get("/api/sessions/long/messages")["messages"]
    words = [*HAPI, "hub", "migrate", "--from", database_url, "--to", str(stage.path / "back.db")]
    refused = stage.start("refused", words, {"HAPI_HOME": str(stage.directory("elsewhere"))})
    assert refused.exit_code(60) == 3
    assert "is in use by the hub" in refused.output
    hub.end()
    assert run("--from", database_url, "--to", str(stage.path / "back.db")).exit_code == 0
