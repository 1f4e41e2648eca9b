"""The PostgreSQL servers of the tests: what other tests rely on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer, execute
from tests.support.postgres_fixtures import require_postgres
from tests.support.programs import until

pytestmark = pytest.mark.program
Servers = Callable[..., PostgresServer]


def test_each_database_is_new_and_of_a_role_without_rights_beyond_it(
    database_urls: Callable[[], str],
) -> None:
    first, second = database_urls(), database_urls()
    execute(first, "CREATE TABLE only_here (id bigint)")
    assert execute(second, "SELECT to_regclass('only_here')") == [(None,)]
    assert execute(first, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [
        (False,)
    ]


def test_a_server_that_crashes_has_what_was_committed(postgres_servers: Servers) -> None:
    server = postgres_servers(port=True)
    server.create_database("one")
    url = server.tcp_url("one")
    execute(url, "CREATE TABLE kept (id bigint)")
    server.restart()
    assert execute(url, "SELECT count(*) FROM kept") == [(0,)]
    server.suspend()
    until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED)
    server.resume()
    assert execute(url, "SELECT count(*) FROM kept") == [(0,)]
    server.stop()
    server.start()
    assert execute(url, "SELECT count(*) FROM kept") == [(0,)]


def test_a_replica_can_take_over(postgres_servers: Servers) -> None:
    import psycopg

    server = postgres_servers()
    server.create_database("one")
    replica = server.replica(synchronous=True)
    execute(server.url("one"), "CREATE TABLE kept (id bigint)")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        execute(replica.url("one"), "DROP TABLE kept")
    server.crash()
    replica.promote()
    execute(replica.url("one"), "INSERT INTO kept VALUES (1)")
    # At once, unlike the one of pg_control_checkpoint().
    timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
    assert execute(replica.url("one"), timeline) == [("00000002",)]


HOLDER = """
from tests.support.postgres import make_server
server = make_server()
print(server.pid, server.directory, flush=True)
input()
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_ends_with_the_test_process(signal_number: int) -> None:
    require_postgres()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdout is not None
    pid, directory = holder.stdout.readline().split()
    holder.send_signal(signal_number)
    holder.wait()
    until(lambda: not psutil.pid_exists(int(pid)), 30.0)
    until(lambda: not Path(directory).exists(), 30.0)
