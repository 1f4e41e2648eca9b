"""`hapi hub status`: with a hub, without one, and with one that does not answer."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.cli.app import hapi as root
from hapi.cli.base.times import local_time
from hapi.cli.commands.hub.backup import record_backup
from hapi.cli.commands.hub.status import status_facts
from hapi.hub.lock import HubLock
from hapi.hub.store.interface import StoreAway
from tests.support.hub_stage import EPOCH, Stage, result_of
from tests.support.programs import CANARY, free_port
from tests.support.programs import Stage as Programs

HAPI = [sys.executable, "-m", "hapi"]
NOW = 1_800_000_000.0  # seconds
FACTS = {
    "running": True,
    "home": "/h",
    "pid": 7,
    "url": "http://127.0.0.1:3006",
    "peopleUrl": "https://hapi.example.com",
    "version": "1.0",
    "startedAt": (NOW - 60) * 1000,
    "sessions": {"archived": 2, "working": 1},
    "machines": {"total": 2, "online": 1},
    "sockets": 1,
    "eventStreams": 0,
    "database": {"path": "/h/hub.db", "bytes": 3 << 20, "freeBytes": 0, "diskFreeBytes": 5 << 30},
    "lastBackup": {"file": "/b", "at": (NOW - 7200) * 1000, "bytes": 5, "exists": False},
}


def shown(**changes):
    return dict(status_facts({**FACTS, **changes}, NOW))


def test_the_size_of_the_database_is_told_as_by_doctor():
    database = {**FACTS["database"], "usedBytes": 2 << 20}
    assert shown(database=database)["Database"] == "/h/hub.db (holds 2M, 3M on disk)"


def test_a_person_reads_each_fact():
    facts = shown()
    started = facts.pop("Started")
    backup = facts.pop("Last backup")
    assert started.endswith("(1 minute ago)")
    assert backup.endswith("(2 hours ago) to /b, which no longer exists")
    assert facts == {
        "Hub": "running (pid 7)",
        "Address": "http://127.0.0.1:3006",
        "Public address": "https://hapi.example.com",
        "Version": "1.0",
        "Sessions": "3 (2 archived, 1 working)",
        "Machines": "2 (1 online)",
        "Connections": "1 socket of runners and sessions, 0 event streams of pages",
        "Home": "/h",
        "Database": "/h/hub.db (3M on disk)",
        "Disk": "5G free",
    }


def member(name, **changes):
    at = int(NOW - 60) * 1000
    facts = {"name": name, "url": f"http://{name}:3006", "version": "1.0", "role": "active"}
    return {**facts, "since": at, "seenAt": at, "isUp": True, "isDraining": False, **changes}


def test_each_hub_of_the_database_has_a_line_with_what_it_does():
    at = local_time((NOW - 60) * 1000)
    hubs = [
        member("a"),
        member("bob", role="standby"),
        member("c", isDraining=True),
        member("d", role="joining"),
        member("e", isUp=False),
    ]
    assert shown(hubs=hubs)["Hubs"].splitlines() == [
        f"a    http://a:3006    active    since {at}      version 1.0",
        f"bob  http://bob:3006  standby   since {at}      version 1.0",
        f"c    http://c:3006    draining  since {at}      version 1.0",
        f"d    http://d:3006    joining   since {at}      version 1.0",
        f"e    http://e:3006    lost      last seen {at}  version 1.0",
    ]


def test_hubs_that_were_last_known_a_while_ago_are_told_with_the_time():
    first, second = shown(hubs=[member("a")], hubsAge=60.0)["Hubs"].splitlines()
    at = local_time((NOW - 60) * 1000)
    assert first == f"as they were known at {at} (1 minute ago):"
    assert second.startswith("a  http://a:3006  active  since ")


def test_a_hub_that_the_others_do_not_reach_is_told_with_the_reason():
    assert "Problem" not in shown(hubs=[member("a", problems=[])])
    found = shown(hubs=[member("a", problems=["Hub a cannot be reached"])])
    assert found["Problem"] == "Hub a cannot be reached"


def test_a_hub_that_is_starting_has_no_address_yet():
    assert shown(url=None, peopleUrl=None)["Address"] == "none yet, the hub is starting"


def test_a_person_reads_that_the_hub_is_not_ready_and_why():
    facts = shown(ready=False, problem="The database is busy, try again")
    assert facts["Hub"] == "running (pid 7), not ready: The database is busy, try again"


def test_the_hub_counts_its_sessions_by_state():
    stage = Stage()
    stage.session(tag="inactive")
    stage.session(tag="archived", lifecycleState="archived")
    stage.live(tag="idle")
    working, other = stage.live(tag="working", namespace="team")
    stage.alive(other, working, thinking=True)
    stage.machine()
    stage.listen()
    stage.tick(2.0)
    found = stage.get("/api/hub-status")
    assert found["sessions"] == {"archived": 1, "idle": 1, "inactive": 1, "working": 1}
    assert found["machines"] == {"total": 1, "online": 1}
    assert (found["sockets"], found["eventStreams"]) == (3, 1)
    assert (found["startedAt"], found["uptimeSeconds"]) == (EPOCH, 2.0)
    assert found["database"]["usedBytes"] > 0
    assert (found["ready"], found["problem"]) == (True, None)


def test_the_hub_tells_its_status_also_when_its_database_was_just_lost(monkeypatch):
    async def fail():
        raise StoreAway("the database is away")

    stage = Stage()
    monkeypatch.setattr(stage.registry.store, "size", fail)
    found = stage.get("/api/hub-status")
    assert (found["ready"], found["problem"]) == (False, "The database cannot be read at present")
    assert found["database"] == {"usedBytes": None, "freeBytes": None}


def test_a_status_that_waits_for_the_database_tells_when_the_hub_was_started(monkeypatch):
    async def wait():
        await deferLater(stage.clock, 10.0)

    stage = Stage()
    stage.tick(2.0)
    monkeypatch.setattr(stage.hub.status, "_problem", wait)
    report = Deferred.fromCoroutine(stage.hub.status.report())
    stage.tick(10.0)
    found = result_of(report)
    assert (found["startedAt"], found["uptimeSeconds"]) == (EPOCH, 2.0)


def test_only_the_owner_sees_the_status_of_all_namespaces():
    refused = Stage().rest("GET", "/api/hub-status", namespace="team")
    assert (refused.status, refused.body["error"]) == (
        403,
        "Only the owner of the hub may see its status",
    )


def status(home, *words):
    environ = {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": CANARY}
    return CliRunner(env=environ).invoke(root, ["hub", "status", *words], prog_name="hapi")


def test_without_a_hub_database_and_backup_are_shown_and_the_exit_code_is_5(home):
    (home.path / "hub.db").write_bytes(b"x" * 2048)
    record_backup(home, home.path / "copy.db", 2048)
    result = status(home)
    assert (result.exit_code, result.stderr) == (5, f"hapi: no hub is running in {home.path}\n")
    assert "Hub:         not running\n" in result.stdout
    assert f"Database:    {home.path}/hub.db (2K on disk)\n" in result.stdout
    told = json.loads(status(home, "--json").stdout)
    assert (told["running"], told["database"]["bytes"]) == (False, 2048)
    assert (told["lastBackup"]["file"], told["lastBackup"]["exists"]) == (
        f"{home.path}/copy.db",
        False,
    )


def test_a_hub_that_does_not_answer_is_named_with_its_process(home):
    lock = HubLock(home, home.path / "hub.db")
    lock.acquire()
    try:
        url = f"http://127.0.0.1:{free_port()}"
        lock.announce(url)
        result = status(home)
        assert result.exit_code == 6
        assert f"the hub at {url} does not answer: " in result.stderr
        assert "Hub:         running (pid " in result.stdout
    finally:
        lock.release()


def test_a_hub_that_answers_that_it_does_not_serve_is_not_ready_for_that_reason(home):
    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self):
            content = json.dumps({"error": "The hub cannot reach its database"}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    lock = HubLock(home, home.path / "hub.db")
    lock.acquire()
    server = HTTPServer(("127.0.0.1", 0), Refusal)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        lock.announce(f"http://127.0.0.1:{server.server_port}")
        result = status(home)
        told = "not ready: The hub cannot reach its database"
        assert result.stderr == f"hapi: the hub (pid {os.getpid()}) is {told}\n"
        assert result.exit_code == 1
        assert f"running (pid {os.getpid()}), {told}\n" in result.stdout
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        lock.release()


@pytest.mark.program
def test_a_running_hub_is_described(tmp_path):
    programs = Programs(tmp_path)
    environ = {"HAPI_HOME": str(tmp_path / "home"), "CLI_API_TOKEN": CANARY}
    try:
        words = [*HAPI, "hub", "--port", "0", "--public-url", "https://hapi.example.com", "--json"]
        hub = programs.start("hub", words, environ)
        hub.ready(lambda: '"url"' in hub.output)

        def run(*words):
            return subprocess.run(
                [*HAPI, "hub", *words],
                env={**programs.base, **environ},
                capture_output=True,
                text=True,
                check=False,
            )

        backup = tmp_path / "copy.db"
        assert run("backup", str(backup)).returncode == 0
        found = json.loads(run("status", "--json").stdout)
        assert (found["running"], found["pid"]) == (True, hub.pid)
        assert found["url"] == json.loads(hub.output)["url"]
        assert found["peopleUrl"] == "https://hapi.example.com"
        assert (found["sessions"], found["sockets"]) == ({}, 0)
        assert found["database"]["path"] == str(Path(environ["HAPI_HOME"]) / "hub.db")
        assert found["database"]["bytes"] >= found["database"]["usedBytes"] > 0
        assert found["lastBackup"]["file"] == str(backup)
        with closing(sqlite3.connect(found["database"]["path"], isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            locked = run("status")
        assert locked.returncode == 1
        told = f"the hub (pid {hub.pid}) is not ready: The database is busy, try again"
        assert locked.stderr == f"hapi: {told}\n"
        assert f"running (pid {hub.pid}), not ready: The database is busy" in locked.stdout
        unlocked = json.loads(run("status", "--json").stdout)
        assert (unlocked["ready"], unlocked["problem"]) == (True, None)
        environ["CLI_API_TOKEN"] = "another-token-than-this-hub-has"
        refused = run("status")
        assert refused.returncode == 7
        assert "refused the access token" in refused.stderr
    finally:
        programs.end()
