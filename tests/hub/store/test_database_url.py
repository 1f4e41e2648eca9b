"""The address of a database in PostgreSQL: what is accepted, and that its password is not shown."""

from __future__ import annotations

import pytest

from hapi.hub.options import HubOptions
from hapi.hub.store.database_url import DatabaseUrl, is_url
from hapi.redaction import Secrets
from hapi.settings import ConfigurationError

PASSWORD = "sw%2Fordf%40ish"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://hapi@db1/hapi", "postgresql://hapi@db1/hapi"),
        ("postgres://hapi@db1/hapi", "postgresql://hapi@db1/hapi"),
        ("POSTGRESQL://db1/hapi", "postgresql://db1/hapi"),
        (f"postgresql://hapi:{PASSWORD}@db1/hapi", "postgresql://hapi@db1/hapi"),
        (f"postgresql://:{PASSWORD}@db1/hapi", "postgresql://db1/hapi"),
        (
            "postgresql://hapi@db1:5433,db2/hapi?target_session_attrs=read-write",
            "postgresql://hapi@db1:5433,db2/hapi?target_session_attrs=read-write",
        ),
        (f"postgresql://h@[::1]:5432/hapi?password={PASSWORD}", "postgresql://h@[::1]:5432/hapi"),
        (
            f"postgresql://h@db1/hapi?sslpassword={PASSWORD}&sslmode=verify-full",
            "postgresql://h@db1/hapi?sslmode=verify-full",
        ),
        ("postgresql:///hapi?host=/run/pg", "postgresql:///hapi?host=/run/pg"),
        ("postgresql://%2Frun%2Fpg/hapi", "postgresql://%2Frun%2Fpg/hapi"),
        ("postgresql://db1?dbname=hapi", "postgresql://db1/?dbname=hapi"),
        ("postgresql://db1/hapi?bogus=5ecret", "postgresql://db1/hapi?bogus=***"),
        ("postgresql://db1/hapi?pass%77ord=5ecret", "postgresql://db1/hapi?pass%77ord=***"),
    ],
)
def test_a_url_is_kept_whole_and_shown_without_its_password(text, shown):
    url = DatabaseUrl.parse(text)
    assert str(url) == shown
    assert DatabaseUrl.parse(url.with_password) == url
    assert PASSWORD not in f"{url}{url!r}"
    assert "5ecret" not in f"{url}{url!r}"
    assert url.has_password is (PASSWORD in text)
    if url.has_password:
        assert PASSWORD in url.with_password
        assert set(url.secrets) == {PASSWORD, "sw/ordf@ish"}
        masked = url.masked(text)
        assert PASSWORD not in masked
        assert len(masked) == len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mysql://u:secret@db1/hapi", "one that begins with mysql: does not"),
        ("postgresql:/db1/hapi:secret", "one that begins with postgresql: does not"),
        ("postgresql://u:secret@db1", "without the name of a database"),
        ("postgresql://u:secret@db1/", "without the name of a database"),
        ("postgresql://u:secret@db1?dbname=", "without the name of a database"),
        ("postgresql://u:secret@db1:port/hapi", "write @ as %40"),
        ("postgresql://u:secret@db1:70000/hapi", "write @ as %40"),
        ("postgresql://u:sec@secret@db1/hapi", "write @ as %40"),
        ("postgresql://u:secret/x@db1/hapi", "write @ as %40"),
        ("postgresql://u:50%secret@db1/hapi", "a % as %25"),
        ("postgresql://u:se%00secret@db1/hapi", "a % as %25"),
        ("postgresql://u:a secret@db1/hapi", "a space as %20"),
        ("postgresql://u:secret@db1/hapi#secret", "nothing but ?NAME=VALUE"),
        ("postgresql://u:secret@db1/hapi/x", "nothing but ?NAME=VALUE"),
    ],
)
def test_a_wrong_url_is_refused_with_a_sentence_without_its_password(text, reason):
    assert is_url(text)
    with pytest.raises(ConfigurationError, match=r"^the database \(--database") as caught:
        DatabaseUrl.parse(text)
    assert reason in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["hub.db", "/srv/hub.db", "C:x", ":memory:", "a:b/hub.db"])
def test_a_file_is_no_url(text):
    assert not is_url(text)


def test_flag_variables_and_settings_name_the_database_in_this_order(home, tmp_path):
    home.settings.write_text('{"database": "postgresql://settings/hapi"}')
    environ = {"HAPI_HOME": str(home.path)}
    read = HubOptions.from_environment
    assert str(read(environ).database) == "postgresql://settings/hapi"
    environ["DB_PATH"] = str(tmp_path / "older.db")
    assert read(environ).database == tmp_path / "older.db"
    environ["HAPI_DATABASE"] = "postgresql://variable/hapi"
    assert str(read(environ).database) == "postgresql://variable/hapi"
    assert str(read(environ, database="postgres://flag/hapi").database) == "postgresql://flag/hapi"
    with pytest.raises(
        ConfigurationError, match=r"^--database must be a file or look like postgresql://"
    ):
        read(environ, database="mysql://flag/hapi")
    environ["HAPI_DATABASE"] = "mysql://variable/hapi"
    with pytest.raises(ConfigurationError, match=r"^HAPI_DATABASE must be a file"):
        read(environ)


def test_programs_started_by_the_hub_s_process_inherit_nothing_of_its_database(home):
    environ = {
        "HAPI_HOME": str(home.path),
        "HAPI_DATABASE": "postgresql://hapi@db1/hapi",
        "PGPASSWORD": "a secret",
        "PATH": "/bin",
    }
    options = HubOptions.from_environment(environ).taking_database_secrets(environ)
    assert environ == {"HAPI_HOME": str(home.path), "PATH": "/bin"}
    assert options.database_secrets == ("a%20secret", "a secret")
    assert "secret" not in repr(options)


def test_a_hub_with_a_file_leaves_the_environment_alone(home):
    environ = {"HAPI_HOME": str(home.path), "DB_PATH": "/srv/hub.db", "PGPASSWORD": "mine"}
    before = dict(environ)
    options = HubOptions.from_environment(environ)
    assert options.taking_database_secrets(environ) is options
    assert environ == before


@pytest.mark.parametrize(
    "text",
    [
        "connection to postgresql://hapi:hunter2@db1/hapi failed",
        "invalid URI: 'postgres://hapi:hun@ter2:hunter2@db1/hapi'",
        "postgresql://db1/hapi?password=hunter2&sslmode=require",
    ],
)
def test_no_log_shows_the_password_of_a_url(text):
    redacted = Secrets().redact(text)
    assert "hunter2" not in redacted
    assert "db1/hapi" in redacted


def test_a_server_that_asks_for_a_password_is_told_with_where_it_belongs():
    connection = pytest.importorskip("hapi.hub.store.postgres.connection")
    said = 'connection failed: connection to server at "db1" failed: fe_sendauth: no password {}'
    assert connection.one_line(OSError(said.format("supplied\n"))) == (
        'connection to server at "db1" failed: fe_sendauth: no password supplied; the password '
        "belongs in ~/.pgpass or the variable PGPASSWORD"
    )
    assert "PGPASSWORD" not in connection.one_line(OSError(said.format("is right")))
