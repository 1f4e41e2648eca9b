"""PostgreSQL servers for tests, in throw-away directories.

Every server ends with the test process, also when that is killed. The fixtures are in
postgres_fixtures.py.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from attrs import define, field

from tests.support.programs import free_port, until

ROLE = "hapi"  # owns the databases, and may do nothing beyond them
PASSWORD = "database-" + os.urandom(8).hex()
PORT = 5432  # in the name of the unix socket

# A server started here runs on when the test process is killed, so this one ends it: its standard
# input closes with the test process.
WATCHER = """
cat >/dev/null
for pid in $(head -qn 1 "$0"/*/postmaster.pid 2>/dev/null); do
    kill -CONT $pid; kill -QUIT $pid
done
sleep 0.5
rm -rf "$0"
"""


def execute(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements outside a transaction; the rows that the last one returns."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description is not None else []


def postgres_programs() -> Path | None:
    """The directory with `initdb` of the newest PostgreSQL of this machine."""
    found = [
        path
        for pattern in ("lib/postgresql/*/bin/initdb", "pgsql-*/bin/initdb")
        for path in Path("/usr").glob(pattern)
    ]
    if found:
        newest = max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()])
        return newest.parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


def account() -> dict[str, Any]:
    """As whom the server runs: it refuses to be root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise LookupError("no account that may run PostgreSQL")


@define(eq=False, repr=False)
class PostgresServer:
    """A server below `directory`, a short path that its account can enter.

    `url()` is its unix socket. With `port` it listens on 127.0.0.1 as well, where it asks for
    PASSWORD. Without `fsync` a crash of the machine may damage it, that of the server may not.
    """

    directory: Path
    port: int | None = None
    fsync: bool = False
    settings: dict[str, str] = field(factory=dict)
    name: str = "data"
    _programs: Path = field(factory=lambda: postgres_programs() or Path())
    _server: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.directory / self.name

    @property
    def sockets(self) -> Path:
        return self.directory / f"{self.name}.sockets"

    @property
    def log(self) -> str:
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- programs of PostgreSQL -------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10"}

    def run(self, program: str, *words: str) -> None:
        """Run a program of PostgreSQL as the server's account."""
        done = subprocess.run(
            [str(self._programs / program), *words],
            cwd=self.directory,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            **account(),
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def create(self) -> None:
        """Make the data directory, with the role that owns the databases."""
        words = ["-D", str(self.data), "-N", "-U", "postgres", "--encoding=UTF8", "--locale=C"]
        self.run("initdb", *words, "--auth-local=trust", "--auth-host=scram-sha-256")
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        self.execute("REVOKE ALL ON DATABASE postgres, template1 FROM public")

    # --- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        assert self._server is None or self._server.poll() is not None
        make_directory(self.sockets)
        given = {
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(PORT if self.port is None else self.port),
            "unix_socket_directories": str(self.sockets),
            "fsync": "on" if self.fsync else "off",
            "full_page_writes": "on" if self.fsync else "off",
            "shared_buffers": "32MB",
            "log_line_prefix": "%m [%p] %u@%d ",
            "lc_messages": "C",
            **self.settings,
        }
        words = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), *words],
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl+C is for the tests
                **account(),
            )
        until(self._is_ready, 60.0, "PostgreSQL")

    def _is_ready(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, f"PostgreSQL ended:\n{self.log}"
        try:  # what `pg_ctl -w` looks at
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        is_own = bool(lines) and lines[0] == str(self._server.pid)
        return is_own and len(lines) >= 8 and lines[7].strip() in ("ready", "standby")

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def processes(self) -> list[psutil.Process]:
        """The server's own process first."""
        server = psutil.Process(self.pid)
        return [server, *server.children(recursive=True)]

    def crash(self) -> None:
        """End it at once; what was committed is recovered at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End it in order; connections are closed."""
        self._end(signal.SIGINT)

    def _end(self, signal_number: int) -> None:
        if self._server is not None and self._server.poll() is None:
            self.resume()
            self._server.send_signal(signal_number)
            self._server.wait(60.0)

    def restart(self, after: float = 0.0) -> None:
        """Crash, and start again `after` seconds later."""
        self.crash()
        time.sleep(after)  # the database is away for so long; nothing is waited for
        self.start()

    def suspend(self) -> None:
        """SIGSTOP all its processes: connections stay open, and nothing answers."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(self.processes()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    # --- databases --------------------------------------------------------------------------------

    def url(self, database: str, user: str = ROLE) -> str:
        """The database over the unix socket; no password is asked for."""
        where = quote(str(self.sockets), safe="")
        port = PORT if self.port is None else self.port
        return f"postgresql://{user}@/{database}?host={where}&port={port}"

    def tcp_url(self, database: str, port: int | None = None, password: str = PASSWORD) -> str:
        """The database over TCP; `port` is that of a proxy in between."""
        assert self.port is not None, "this server listens on its unix socket alone"
        return f"postgresql://{ROLE}:{password}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, outside a transaction; the rows it returns."""
        return execute(self.url(database, "postgres"), statement)

    def create_database(self, name: str) -> str:
        """A new, empty database of ROLE. It sorts texts otherwise than SQLite, as most do."""
        collation = ""
        if self.execute("SELECT 1 FROM pg_collation WHERE collname = 'en-US-x-icu'"):
            collation = " LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        made = f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0{collation}"
        self.execute(made)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    # --- a replica --------------------------------------------------------------------------------

    def replica(self, name: str = "replica", synchronous: bool = False) -> PostgresServer:
        """Another server that follows this one. `synchronous`: a COMMIT waits for it."""
        port = None if self.port is None else free_port()
        follower = PostgresServer(self.directory, port, self.fsync, dict(self.settings), name)
        own_port = str(PORT if self.port is None else self.port)
        where = ["-h", str(self.sockets), "-p", own_port, "-U", "postgres"]
        self.run(
            "pg_basebackup", "-D", str(follower.data), "-R", "-X", "stream", "-c", "fast", *where
        )
        follower.settings["cluster_name"] = name
        follower.start()
        if synchronous:
            self.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
            self.execute("SELECT pg_reload_conf()")
            until(self._has_synchronous_replica, what="a synchronous replica")
        return follower

    def _has_synchronous_replica(self) -> bool:
        return bool(self.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))

    def promote(self) -> None:
        """Make a replica a server of its own, on a new timeline, and wait until it writes."""
        self.execute("SELECT pg_promote(true, 60)")


# --- servers of the test process ------------------------------------------------------------------

watchers: dict[Path, subprocess.Popen[bytes]] = {}  # by the directory of the servers


def make_directory(path: Path) -> None:
    """A directory that the server's account owns."""
    path.mkdir(mode=0o755, exist_ok=True)
    path.chmod(0o755)
    if owner := account():
        os.chown(path, owner["user"], owner["group"])


def make_server(
    port: int | None = None, fsync: bool = False, settings: dict[str, str] | None = None
) -> PostgresServer:
    """A running server of this process, with a directory of its own, which goes with it."""
    # The path of a unix socket has at most 107 bytes, and pytest's directories are private.
    directory = Path(tempfile.mkdtemp(prefix="hapi-pg-", dir="/tmp"))
    make_directory(directory)
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", WATCHER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = PostgresServer(directory, port, fsync, settings or {})
    watchers[directory] = watcher
    server.create()
    return server


def end_servers(directory: Path | None = None) -> None:
    """End the servers below `directory`, or all."""
    for path in [directory] if directory is not None else list(watchers):
        watcher = watchers.pop(path)
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait(120.0)


atexit.register(end_servers)
