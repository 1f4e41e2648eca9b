"""Commands of `hapi hub` for a database in PostgreSQL: what they say instead of touching a file."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from hapi.cli.app import hapi as root
from hapi.cli.checks.database_check import check_database
from hapi.cli.checks.postgres_check import check_postgres
from hapi.hub.lock import HubLock
from hapi.hub.store.database_url import DatabaseUrl

URL = "postgresql://hapi:hunter2@db1/hapi"
SHOWN = "postgresql://hapi@db1/hapi"


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*words, **environ):
        environ = {"HAPI_HOME": str(home.path), "HAPI_DATABASE": "", "DB_PATH": "", **environ}
        result = CliRunner().invoke(root, words, env=environ)
        assert "hunter2" not in result.output
        assert list(tmp_path.rglob("postgres*")) == []
        return result

    return invoke


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("backup", "b.db"), f"pg_dump --format=custom --file=FILE '{SHOWN}'"),
        (("compact",), f"psql -c 'VACUUM FULL' '{SHOWN}'"),
    ],
)
@pytest.mark.parametrize("place", ["flag", "group", "variable", "settings"])
def test_what_works_on_a_file_names_the_tool_of_postgresql(words, instead, place, run, home):
    if place == "flag":
        result = run("hub", *words, "--database", URL)
    elif place == "group":
        result = run("hub", "--database", URL, *words)
    elif place == "variable":
        result = run("hub", *words, HAPI_DATABASE=URL)
    else:
        home.settings.write_text(json.dumps({"database": URL}))
        result = run("hub", *words)
    assert result.exit_code == 1
    assert f"{SHOWN} is not a file: " in result.stderr
    assert instead in result.stderr


def test_the_database_of_a_running_hub_is_known_without_being_named(run, home):
    lock = HubLock(home, DatabaseUrl.parse(URL))
    lock.acquire()
    try:
        backup = run("hub", "backup", "b.db")
        assert f"'{SHOWN}'" in backup.stderr
        facts = json.loads(run("hub", "status", "--json").stdout)
    finally:
        lock.release()
    assert facts["running"]
    assert facts["database"] == {"path": SHOWN, "bytes": None, "diskFreeBytes": None}


def test_status_shows_the_database_without_its_password(run):
    result = run("hub", "status", HAPI_DATABASE=URL)
    assert f"Database: {SHOWN}\n" in result.stdout


def test_another_url_than_that_of_the_running_hub_is_not_in_use(run, home):
    lock = HubLock(home, DatabaseUrl.parse(URL))
    lock.acquire()
    try:
        facts = json.loads(run("hub", "status", "--json", "--database", f"{URL}2").stdout)
    finally:
        lock.release()
    assert not facts["running"]


@pytest.fixture
def checked(home, monkeypatch):
    """What doctor finds about the database of a URL."""
    monkeypatch.setenv("HAPI_HOME", str(home.path))

    def check(url, **environ):
        monkeypatch.setenv("HAPI_DATABASE", url)
        (found,) = check_database(home, environ)
        assert "hunter2" not in found.text
        assert found.text.startswith(str(DatabaseUrl.parse(url)))
        return found.finding, found.text

    return check


def test_doctor_names_a_database_that_cannot_be_reached_without_its_password(checked):
    pytest.importorskip("psycopg")
    finding, text = checked("postgresql://hapi:hunter2@127.0.0.1:1/hapi")
    assert finding == "broken"
    assert "cannot be used" in text
    assert "\n" not in text


def test_doctor_names_what_is_missing_for_postgresql(checked, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert checked(URL) == ("broken", f"{SHOWN} needs psycopg: pip install 'hapi-runner[postgres]'")


def test_doctor_notes_a_database_beyond_its_limit(database_url, shared_postgres):
    name = database_url.split("?")[0].rsplit("/")[-1]
    shared_postgres.execute("CREATE TABLE hubs ()", name)
    check = check_postgres(DatabaseUrl.parse(database_url), 1 << 20)
    assert check.finding == "note"
    assert "more than its limit of 1M (--max-database-size)" in check.text


def test_doctor_shows_the_size_of_a_database_and_writes_nothing(
    checked, shared_postgres, database_url
):
    assert checked(database_url) == ("good", f"{database_url} holds nothing yet")
    shared_postgres.execute("CREATE TABLE hubs ()", database_url.split("?")[0].rsplit("/")[-1])
    finding, text = checked(database_url)
    assert finding == "good"
    assert text.endswith("; it is backed up with pg_dump")


def test_a_service_file_names_the_database_as_it_is(run):
    result = run("hub", "install-service", "--kind", "systemd-user", "--database", SHOWN)
    assert result.exit_code == 0
    assert f"--database {SHOWN}" in result.stdout


@pytest.mark.parametrize("place", ["flag", "HAPI_DATABASE", "DB_PATH"])
def test_a_service_file_never_contains_the_password(place, run):
    words = ("hub", "install-service", "--kind", "systemd-user")
    result = run(*words, "--database", URL) if place == "flag" else run(*words, **{place: URL})
    assert result.exit_code == 1
    assert "~/.pgpass" in result.stderr


@pytest.mark.parametrize("wrong", ["mysql://u:hunter2@db1/hapi", "postgresql://u:hunter2@db1"])
@pytest.mark.parametrize("words", [("hub",), ("up",), ("hub", "status")])
def test_a_wrong_url_ends_the_command_with_a_sentence(words, wrong, run, home):
    result = run(*words, HAPI_DATABASE=wrong)
    assert result.exit_code == 1
    assert "HAPI_DATABASE" in result.stderr
    assert not home.settings.exists()
