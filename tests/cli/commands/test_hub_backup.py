"""`hapi hub backup` beside a real hub: while it writes, and after its database was deleted."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from hapi.home import Home
from tests.support.programs import CANARY, Program, Stage

HAPI = [sys.executable, "-m", "hapi"]


@define
class Writer:
    """Creates sessions one after another and counts those that the hub has acknowledged."""

    url: str
    acknowledged: int = 0
    slowest: float = 0.0  # seconds
    _stopped: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._stopped.is_set():
            begun = time.monotonic()
            assert create(self.url, f"w{self.acknowledged}")[0] == 200
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.acknowledged += 1

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


def create(url: str, tag: str) -> tuple[int, Any]:
    body = {"tag": tag, "metadata": {"path": "/", "host": "h", "padding": "x" * 4000}}
    request = urllib.request.Request(
        f"{url}/cli/sessions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {CANARY}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def started(stage: Stage, home: Home, name: str, *more: str) -> tuple[Program, str]:
    environ = {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": CANARY}
    hub = stage.start(name, [*HAPI, "hub", "--port", "0", "--json", *more], environ)
    hub.ready(lambda: '"url"' in hub.output)
    return hub, str(json.loads(hub.output)["url"])


def backed_up(stage: Stage, home: Home, name: str, *more: str, status: int = 0) -> str:
    command = stage.start(name, [*HAPI, "hub", "backup", *more], {"HAPI_HOME": str(home.path)})
    assert command.exit_code(120) == status, command.output
    return command.output


def sessions(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute("SELECT count(*) FROM sessions").fetchone()[0])


@pytest.mark.program
def test_a_backup_of_a_hub_that_writes_has_all_that_was_acknowledged_before(
    stage: Stage, home: Home
) -> None:
    _, url = started(stage, home, "hub")
    writer = Writer(url)
    try:
        for number in range(3):
            before = writer.acknowledged
            target = stage.path / f"copy{number}.db"
            told = json.loads(backed_up(stage, home, f"b{number}", str(target), "--json"))
            assert before <= told["sessions"] == sessions(target) <= writer.acknowledged + 1
            assert told["rescuedFrom"] is None
            assert writer.acknowledged > before
    finally:
        writer.stop()
    output = backed_up(stage, home, "again", str(stage.path / "copy0.db"), status=1)
    assert output.splitlines() == [
        f"hapi: {stage.path}/copy0.db already exists: choose another name, or use --force"
    ]


@pytest.mark.program
def test_the_database_that_a_running_hub_uses_is_backed_up_without_naming_it(
    stage: Stage, home: Home
) -> None:
    _, url = started(stage, home, "hub", "--database", str(stage.path / "named.db"))
    create(url, "one")
    output = backed_up(stage, home, "backup", str(stage.path / "copy.db"))
    assert output.startswith(f"Backed up {stage.path}/named.db to {stage.path}/copy.db")
    assert "1 session, 0 machines, 0 messages" in output
    for words in (["--database", str(home.path / "none.db"), "backup"], ["backup", "--database"]):
        named = [*words, *([str(home.path / "none.db")] if words[-1] == "--database" else [])]
        other = stage.start(
            f"other{len(named)}{words[0][:3]}",
            [*HAPI, "hub", *named, str(stage.path / "copy2.db")],
            {"HAPI_HOME": str(home.path)},
        )
        assert other.exit_code(60) == 1
        assert f"there is no database {home.path}/none.db" in other.output


@pytest.mark.program
def test_a_deleted_database_comes_back_from_the_running_hub(stage: Stage, home: Home) -> None:
    hub, url = started(stage, home, "hub")
    for number in range(5):
        assert create(url, f"s{number}")[0] == 200
    (home.path / "hub.db").unlink()
    status, answer = create(url, "refused")
    assert status == 503
    assert "was deleted, replaced or moved" in answer["error"]
    target = stage.path / "copy.db"
    output = backed_up(stage, home, "backup", str(target))
    assert f"process {hub.pid} still has open" in output
    assert sessions(target) == 5
    assert hub.running
    assert hub.end(signal.SIGTERM) == 0
    target.rename(home.path / "hub.db")
    again, url = started(stage, home, "again")
    assert create(url, "s0")[0] == 200
    assert create(url, "new")[0] == 200
    assert again.end() == 0
    assert sessions(home.path / "hub.db") == 6
    log = "".join(path.read_text() for path in (home.path / "logs").iterdir())
    assert log.count("was deleted while the hub") == 1


@pytest.mark.program
def test_compact_gives_the_space_of_an_older_database_back_while_the_hub_is_stopped(
    stage: Stage, home: Home
) -> None:
    hub, url = started(stage, home, "hub")
    for number in range(20):
        create(url, f"s{number}")
    running = stage.start("running", [*HAPI, "hub", "compact"], {"HAPI_HOME": str(home.path)})
    assert running.exit_code(60) == 3
    assert f"is in use by the hub with process id {hub.pid} at {url}" in running.output
    assert hub.end() == 0
    path = home.path / "hub.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = NONE")  # as versions before this one made it
        connection.execute("VACUUM")
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
            " INSERT INTO sessions (id, tag, created_at, updated_at, metadata)"
            " SELECT 'x' || i, 'x' || i, 1, 1, json_object('p', hex(randomblob(4000))) FROM n"
        )
        connection.execute("DELETE FROM sessions WHERE id LIKE 'x%'")
    before = path.stat().st_size
    assert before > 4_000_000
    compact = stage.start("compact", [*HAPI, "hub", "compact"], {"HAPI_HOME": str(home.path)})
    assert compact.exit_code(60) == 0, compact.output
    assert compact.output.startswith(f"Compacted {path}: ")
    assert path.stat().st_size < 500_000
    assert sessions(path) == 20
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    again, url = started(stage, home, "again")
    assert create(url, "s0")[0] == 200
    assert again.end() == 0


@pytest.mark.program
@pytest.mark.parametrize("content", ["none", "npm's", "text"])
def test_compact_touches_no_database_of_another_program(
    stage: Stage, home: Home, content: str
) -> None:
    path = stage.path / "other.db"
    if content == "npm's":
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE sessions (id)")
    elif content == "text":
        path.write_text("no database" * 1000)
    before = path.read_bytes() if path.exists() else None
    command = [*HAPI, "hub", "compact", "--database", str(path)]
    refused = stage.start("refused", command, {"HAPI_HOME": str(home.path)})
    assert refused.exit_code(60) == 1
    assert len(refused.output.splitlines()) == 1, refused.output
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.program
@pytest.mark.parametrize(
    "words", [["--keep-sessions", "90"], ["--max-database-size", "1M"], ["--keep-sessions", "0d"]]
)
def test_a_bad_limit_is_one_sentence_and_status_2(
    stage: Stage, home: Home, words: list[str]
) -> None:
    refused = stage.start("refused", [*HAPI, "hub", *words], {"HAPI_HOME": str(home.path)})
    assert refused.exit_code(60) == 2
    assert refused.output.startswith(f"hapi: {words[0]} '{words[1]}': it must be")
    assert len(refused.output.splitlines()) == 1
