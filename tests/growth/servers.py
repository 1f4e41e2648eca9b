"""The programs of a run: hubs, HAProxy with the configuration of the documentation, PostgreSQL."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.growth.balancers import NGINX, start_haproxy, start_nginx
from tests.growth.cutting_proxy import CuttingProxy
from tests.growth.plan import Plan
from tests.support.programs import Program, Stage, free_port

START_TIMEOUT = 60.0  # seconds
DATABASE = "growth"


@define(eq=False)
class HubProcess:
    """A hub that is started again on the same port. `is_wanted`: it has not been taken down by a
    fault that goes on.
    """

    name: str
    stage: Stage
    port: int
    environment: dict[str, str]
    options: list[str]
    to_database: CuttingProxy | None = None
    to_hub: CuttingProxy | None = None  # through which the other hubs reach this one
    program: Program | None = None
    starts: int = 0
    exits: list[int] = field(factory=list)
    is_stopped: bool = False
    is_next: bool = False  # it knows a next version of the tables
    clock: float = 0.0  # seconds by which its clock is ahead

    def start(self) -> None:
        self.starts += 1
        changes = ["--clock", str(self.clock)] if self.clock else []
        changes += ["--next"] if self.is_next else []
        program = ["tests.support.changed_program", *changes] if changes else ["hapi"]
        argv = [sys.executable, "-m", *program, "hub", "--host", "127.0.0.1"]
        argv += ["--port", str(self.port), *self.options]
        home = {"HAPI_HOME": str(self.stage.directory(self.name))}
        self.program = self.stage.start(self.name, argv, {**self.environment, **home})

    @property
    def is_running(self) -> bool:
        return self.program is not None and self.program.running

    def send(self, number: signal.Signals) -> None:
        if self.is_running and self.program is not None:
            self.program.process.send_signal(number)

    def kill(self) -> None:
        if self.program is not None:
            self.send(signal.SIGKILL)
            self.program.exit_code()

    def pause(self) -> None:
        self.is_stopped = True
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.is_stopped = False
        self.send(signal.SIGCONT)

    def get(self, path: str, token: str = "") -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 if there is none."""
        headers = {"Host": "localhost"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2.0)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    async def answers(self, path: str) -> int:
        return (await deferToThread(self.get, path))[0]


@define(eq=False)
class Servers:
    """Everything that the driver starts besides itself."""

    reactor: Any
    plan: Plan
    stage: Stage
    token: str
    hubs: list[HubProcess] = field(factory=list)
    proxies: list[CuttingProxy] = field(factory=list)
    database: Any = None  # PostgresServer
    replica: Any = None
    balancer: Program | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        if self.plan.postgres:
            await deferToThread(self._start_database)
        for number in range(self.plan.hubs):
            self.hubs.append(self._hub(number))
        for hub in self.hubs:
            hub.start()
            await self.wait(hub, "/health")
        self.port = free_port()
        ports = [hub.port for hub in self.hubs]
        start = start_nginx if self.plan.balancer == NGINX else start_haproxy
        self.balancer = start(self.stage, self.port, ports)
        await self._serves()

    def _start_database(self) -> None:
        from tests.support.postgres import make_server

        self.database = make_server(free_port(), fsync=self.plan.fsync)
        self.database.create_database(DATABASE)
        if self.plan.is_replicated:
            self.replica = self.database.replica(synchronous=True)

    def _hub(self, number: int) -> HubProcess:
        port = free_port()
        environment = {"CLI_API_TOKEN": self.token}
        options = ["--trusted-proxy", "127.0.0.1"]
        to_database = to_hub = None
        name = f"hub-{'abcdefgh'[number]}"
        if self.plan.postgres:
            from tests.support.postgres import PASSWORD, ROLE

            to_database = CuttingProxy(self.reactor, self.database.port).start()
            where = f"postgresql://{ROLE}@127.0.0.1:{to_database.port}/{DATABASE}"
            environment |= {"PGPASSWORD": PASSWORD}
            options += ["--database", where]
            self.proxies.append(to_database)
        if self.plan.active:
            to_hub = CuttingProxy(self.reactor, port).start()
            options += ["--advertise", f"http://127.0.0.1:{to_hub.port}", "--name", name]
            options += ["--drain-seconds", str(self.plan.drain_seconds)]
            self.proxies.append(to_hub)
        hub = HubProcess(name, self.stage, port, environment, options, to_database, to_hub)
        hub.clock = self.plan.clocks[number] if self.plan.clocks else 0.0
        return hub

    async def wait(self, hub: HubProcess, path: str = "/health", wanted: int = 200) -> float:
        """Wait for an answer with the status `wanted`; the seconds that it took."""
        began = self.reactor.seconds()
        while (status := await hub.answers(path)) != wanted:
            if self.reactor.seconds() - began > START_TIMEOUT:
                output = hub.program.output[-3000:] if hub.program is not None else ""
                raise TimeoutError(f"{hub.name} answers {path} with {status}:\n{output}")
            if not hub.is_running and hub.program is not None:
                raise RuntimeError(
                    f"{hub.name} ended with {hub.program.process.returncode}:\n"
                    f"{hub.program.output[-3000:]}"
                )
            await deferLater(self.reactor, 0.1)
        return float(self.reactor.seconds() - began)

    async def _serves(self) -> None:
        """Wait until the balancer has a hub."""
        behind = HubProcess("balancer", self.stage, self.port, {}, [])
        behind.program = self.balancer
        for hub in self.hubs if self.plan.active else ():
            await self.wait(hub, "/ready")
        await self.wait(behind, "/ready")

    async def restart(self, hub: HubProcess) -> None:
        """Start a hub that has ended, and wait until it answers. One that ends again, because it
        does not reach its database, is started again, as by a service manager.
        """
        deadline = self.reactor.seconds() + START_TIMEOUT
        while True:
            if not hub.is_running:
                hub.start()
            try:
                await self.wait(hub)
                return
            except RuntimeError:
                if self.reactor.seconds() > deadline:
                    raise
            await deferLater(self.reactor, 1.0)

    async def drain(self, hub: HubProcess) -> None:
        """SIGTERM, and wait for the exit."""
        hub.send(signal.SIGTERM)
        began = self.reactor.seconds()
        while hub.is_running:
            if self.reactor.seconds() - began > 45.0:
                hub.exits.append(-9)
                hub.kill()
                return
            await deferLater(self.reactor, 0.1)
        if hub.program is not None:
            hub.exits.append(hub.program.process.returncode)

    # --- the database
    async def crash_database(self, seconds: float) -> None:
        await deferToThread(self.database.restart, seconds)

    def hold_lock(self, seconds: float) -> None:
        """Hold the lock under which hubs write to the journal, as a foreign program might."""
        import psycopg

        from hapi.hub.store.postgres.locks import ORDER

        with psycopg.connect(self.database.url(DATABASE, "postgres")) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (ORDER,))
            time.sleep(seconds)  # the fault lasts so long; nothing is waited for

    async def promote(self) -> None:
        """The database is lost; its replica takes its place and its address."""
        old, new = self.database, self.replica
        await deferToThread(old.crash)
        await deferToThread(new.promote)
        await deferToThread(new.execute, "ALTER SYSTEM SET synchronous_standby_names = ''")
        await deferToThread(new.execute, "SELECT pg_reload_conf()")
        self.database, self.replica = new, None
        for hub in self.hubs:
            if hub.to_database is not None:
                hub.to_database.target = new.port

    async def members_up(self, jwt: str) -> dict[str, list[str]]:
        """Which hubs each hub takes for alive, by the names of both."""
        found = {}
        for hub in self.hubs:
            status, told = await deferToThread(hub.get, "/api/hub-status", jwt)
            up = [each["name"] for each in told["hubs"] if each["isUp"]] if status == 200 else []
            found[hub.name] = sorted(up)
        return found

    def schemas(self) -> tuple[int, set[int]]:
        """The version of the tables, and the versions that the hubs know that are there."""
        ((version,),) = self.database.execute("SELECT version FROM meta", DATABASE)
        query = "SELECT DISTINCT schema FROM hubs WHERE seen_at > now_ms() - 10000"
        return version, {known for (known,) in self.database.execute(query, DATABASE)}

    def disordered_times(self) -> list[str]:
        """The sessions in which a later message has an earlier time, or was invoked before one that
        precedes it. People's prompts are invoked when they are taken.
        """
        query = """
            SELECT DISTINCT session_id FROM (
                SELECT session_id, created_at, lag(created_at) OVER by_seq AS created_before,
                    invoked_at, lag(invoked_at) OVER by_seq AS invoked_before
                FROM messages WHERE local_id IS NULL OR invoked_at = created_at
                WINDOW by_seq AS (PARTITION BY session_id ORDER BY seq)
            ) AS neighbours
            WHERE created_at < created_before OR invoked_at < invoked_before
        """
        return [name for (name,) in self.database.execute(query, DATABASE)]

    def stored(self) -> list[tuple[str, int, str, str | None]]:
        """Session, sequence number, content and local id of all messages in the database."""
        query = "SELECT session_id, seq, content, local_id FROM messages ORDER BY session_id, seq"
        if self.plan.postgres:
            return list(self.database.execute(query, DATABASE))
        path = Path(self.stage.path / self.hubs[0].name / "hub.db")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return list(connection.execute(query))
        finally:
            connection.close()

    # --- the end
    def heal(self) -> None:
        for proxy in self.proxies:
            proxy.heal()
        for hub in self.hubs:
            if hub.is_stopped:
                hub.resume()

    def end(self) -> None:
        """End all programs. Can be called at any time, and twice."""
        if self.balancer is not None and self.balancer.running:
            self.balancer.end()  # nginx hides its environment, by which a stage finds programs
        self.stage.end()
        if self.plan.postgres and self.database is not None:
            from tests.support.postgres import end_servers

            end_servers(self.database.directory)
