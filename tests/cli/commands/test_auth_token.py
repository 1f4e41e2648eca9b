"""`hapi auth token` and `hapi hub audit`, at a hub that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.base.tail import LineFollower
from hapi.cli.commands.hub.audit import entry_line
from hapi.protocol.token import ALL_SCOPES
from tests.support.programs import Stage, free_port

HAPI = (sys.executable, "-m", "hapi")


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base["HAPI_HOME"] = str(tmp_path / "home")
    yield made
    made.end()


@pytest.fixture
def hub_url(stage, canary):
    port = free_port()
    environment = {"HAPI_HOME": str(stage.path / "hubhome"), "CLI_API_TOKEN": canary}
    words = [*HAPI, "hub", "--port", str(port)]
    program = stage.start("hub", words, environment, output=".printed")
    program.ready(lambda: "Page:" in program.output)
    return f"http://127.0.0.1:{port}"


def command(stage, *words, stdin="", **environment):
    return subprocess.run(
        [*HAPI, *words],
        env=stage.base | environment,
        cwd=stage.path,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.program
def test_a_token_is_made_used_listed_revoked_and_audited(stage, hub_url, canary):
    login = command(stage, "auth", "login", "--url", hub_url, stdin=f"{canary}\n")
    assert login.returncode == 0, login.stderr
    words = ("auth", "token", "create", "--name", "phone", "--can", "chat, approve")
    made = command(stage, *words, "--expires", "90d")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("hapi_")
    assert made.stderr.startswith("Token phone (chat, approve), valid until 20")
    again = command(stage, *words)
    assert again.returncode == 1
    assert "Another token has this name" in again.stderr

    listed = command(stage, "auth", "token", "list")
    assert listed.stdout.splitlines()[1].startswith("phone  chat,approve  default    -")
    assert token not in listed.stdout
    refused = command(stage, "auth", "token", "list", CLI_API_TOKEN=token)
    assert refused.returncode == 7
    assert "may not administer the hub (scope admin)" in refused.stderr

    created = urlopen(
        Request(
            f"{hub_url}/cli/sessions",
            json.dumps({"tag": "kept", "metadata": {"path": "/", "host": "here"}}).encode(),
            {"Authorization": f"Bearer {canary}", "Content-Type": "application/json"},
        )
    )
    session_id = json.load(created)["session"]["id"]
    for words in (("sessions", "archive", session_id), ("sessions", "delete", session_id)):
        refused = command(stage, *words, CLI_API_TOKEN=token)
        assert refused.returncode == 7
        assert "This access token may not " in refused.stderr
        assert "auth login" not in refused.stderr  # another token, not another login, is needed
    home = str(stage.path / "hubhome")
    refused = command(stage, "hub", "status", HAPI_HOME=home, CLI_API_TOKEN=token)
    assert refused.returncode == 7
    assert "Only the owner of the hub may see its status" in refused.stderr

    revoked = command(stage, "auth", "token", "revoke", "phone")
    assert (revoked.stderr, revoked.stdout) == ("", "Token phone revoked\n")
    assert command(stage, "auth", "token", "revoke", "phone").returncode == 1
    gone = command(stage, "auth", "token", "list", CLI_API_TOKEN=token)
    assert gone.returncode == 7
    assert "Invalid access token" in gone.stderr

    audit = command(stage, "hub", "audit", "--json", HAPI_HOME=home)
    entries = [json.loads(line) for line in audit.stdout.splitlines()]
    done = [(entry["action"], entry["outcome"]) for entry in entries if entry["action"] != "login"]
    assert done == [
        ("token-create", "done"),
        ("token-create", "failed"),
        *[("scope-missing", "refused")] * 3,
        ("token-revoke", "done"),
    ]
    assert ("login", "refused") in [(entry["action"], entry["outcome"]) for entry in entries]
    shown = command(stage, "hub", "audit", "-n", "2", HAPI_HOME=home).stdout
    assert len(shown.splitlines()) == 2
    shown = command(stage, "hub", "audit", HAPI_HOME=home).stdout
    (revocation,) = [line for line in shown.splitlines() if "token-revoke" in line]
    assert "name=phone" in revocation
    assert token not in audit.stdout
    assert token not in (stage.path / "hubhome").joinpath("audit.jsonl").read_text()


def test_the_help_describes_every_scope():
    shown = " ".join(CliRunner().invoke(hapi, ["auth", "token", "create", "--help"]).stdout.split())
    assert [scope for scope in ALL_SCOPES if f"{scope} (" not in shown] == []


@pytest.mark.parametrize("scopes", ["", ",", "everything", "read;chat"])
def test_unknown_scopes_are_usage_errors(stage, scopes):
    done = command(stage, "auth", "token", "create", "--name", "x", "--can", scopes)
    assert done.returncode == 2
    assert "the scopes are read, chat, approve, spawn, machine, terminal, admin" in done.stderr


def test_an_entry_cannot_write_to_the_terminal():
    line = entry_line(
        {
            "time": 1,
            "action": "spawn",
            "outcome": "refused",
            "actor": "a\x1b[2J",
            "address": "1\n2",
            "facts": {"x\r": "\u202e"},
        }
    )
    assert "\x1b" not in line
    assert "\n" not in line
    assert "\r" not in line
    assert "\u202e" not in line
    assert "REFUSED" in line


def test_a_lifetime_is_shown_in_days():
    entry = {"time": 1, "action": "token-create", "outcome": "done"}
    line = entry_line({**entry, "facts": {"expiresIn": 90 * 86_400_000}})
    assert line.endswith('expiresIn="90 days"')


def test_a_value_cannot_look_like_other_fields():
    line = entry_line(
        {
            "time": 1,
            "action": "spawn",
            "outcome": "done",
            "namespace": "default",
            "actor": "phone  from 9.9.9.9",
            "address": "10.0.0.1",
            "facts": {
                "directory": '/a"  from 9.9.9.9  agent=claude',
                "agent": "demo",
                "x": "",
                "can": '["a","b"]',
            },
        }
    )
    assert line.partition("  by ")[2] == (
        '"phone  from 9.9.9.9"  from 10.0.0.1  '
        'directory="/a\\"  from 9.9.9.9  agent=claude"  agent=demo  x=""  can=a,b'
    )


def test_lines_are_followed_through_a_rotation(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old\n")
    follower = LineFollower(path)
    with path.open("ab") as file:
        file.write(b"one\ntw")
    assert follower.new_lines() == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\n")
    assert follower.new_lines() == [b"two"]
    path.rename(tmp_path / "a.1")
    assert follower.new_lines() == []
    path.write_bytes(b"three\n")
    assert follower.new_lines() == [b"three"]
