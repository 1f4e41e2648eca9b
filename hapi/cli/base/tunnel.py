"""The tunnel program of `hapi up --tunnel`, which makes the hub reachable from elsewhere.

It is somebody's own cloudflared, tailscale or ssh.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.home import Home
from hapi.process import IProcesses
from hapi.redaction import Secrets
from hapi.runner.handoff.descriptors import StartCommand
from hapi.runner.handoff.program import (
    ProgramNotStarted,
    StartedProgram,
    open_output,
    spawn_program,
)
from hapi.settings import ConfigurationError

ADDRESS_TIMEOUT = 30.0  # seconds that a tunnel may take to print its address
POLL_INTERVAL = 0.25  # seconds between two readings of what it prints, until the address is found
STOP_TIMEOUT = 2.0  # seconds from SIGTERM to SIGKILL
RESTART_DELAY, MAX_RESTART_DELAY = 2.0, 60.0  # seconds before a tunnel that ended is started again
STEADY_AFTER = 60.0  # seconds after which a tunnel that ends is started again without a long delay
SSH_IS_UP = "the tunnel is up"  # printed by the local command that ssh runs once it is logged in
SSH_OPTIONS = (  # there is no terminal for questions, and a lost connection must be noticed
    *("BatchMode=yes", "ExitOnForwardFailure=yes", "PermitLocalCommand=yes"),
    *("ServerAliveInterval=15", "ServerAliveCountMax=3", f"LocalCommand=echo {SSH_IS_UP}"),
)
# What the programs print: cloudflared 2020.11 and later, tailscale 1.52 and later (`serve`).
QUICK_TUNNEL = re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com\b")
TAILNET = re.compile(r"https://[a-z0-9-]+(?:\.[a-z0-9-]+)*\.ts\.net\b(?::\d+)?")
SSH_DESTINATION = re.compile(r"[A-Za-z0-9_][\w.@:\[\]-]*")

Kind = Literal["cloudflared", "tailscale", "ssh"]
FORMS = "`cloudflared`, `tailscale` or `ssh HOST`"


@frozen
class Tunnel:
    """A tunnel program; `destination` is that of ssh."""

    kind: Kind
    destination: str = ""

    @classmethod
    def parse(cls, text: object) -> Tunnel:
        """`cloudflared`, `tailscale`, `ssh HOST` or `ssh:HOST`. Raises ConfigurationError."""
        words = re.split(r"[\s:]+", text.strip(), maxsplit=1) if isinstance(text, str) else []
        match words:
            case ["cloudflared" | "tailscale" as kind]:
                return cls(kind)
            case ["ssh", destination] if SSH_DESTINATION.fullmatch(destination):
                return cls("ssh", destination)
        raise ConfigurationError(
            f"tunnel {text!r} (--tunnel, HAPI_TUNNEL, tunnel in settings.json) must be {FORMS}"
        )

    def program(self) -> str:
        """The path of the program. Raises ConfigurationError."""
        found = shutil.which(self.kind)
        if found is None:
            raise ConfigurationError(
                f"{self.kind} is not installed: there is no such program on PATH"
            )
        return found

    def argv(self, program: str, url: str) -> tuple[str, ...]:
        """The command line for a hub that is reached as `url` on this machine."""
        if self.kind == "cloudflared":
            return (program, "tunnel", "--no-autoupdate", "--url", url)
        if self.kind == "tailscale":
            return (program, "serve", url)
        parts = urlsplit(url)
        options = (word for option in SSH_OPTIONS for word in ("-o", option))
        forward = f"{parts.port}:{parts.hostname}:{parts.port}"
        return (program, "-N", "-T", *options, "-R", forward, self.destination)

    def address(self, printed: str, url: str, public_url: str | None) -> str | None:
        """The address for other devices once `printed` has it, or says that the tunnel is up.

        ssh tells none: it is `public_url`, or else the port of `url` at its destination.
        """
        if self.kind == "ssh":
            if SSH_IS_UP not in printed:
                return None
            return (
                public_url or f"http://{self.destination.rpartition('@')[2]}:{urlsplit(url).port}"
            )
        found = (QUICK_TUNNEL if self.kind == "cloudflared" else TAILNET).search(printed)
        return found[0] if found else None


@define(eq=False, repr=False, slots=False)
class TunnelService(Service):
    """Keeps a tunnel to `url` up: a program that ends is started again, with increasing delays.

    `on_address` gets each address that a tunnel has, `on_failure` a sentence when one ends or
    prints no address in time.
    """

    _reactor: Any
    _processes: IProcesses
    _home: Home
    _tunnel: Tunnel
    _url: str
    _public_url: str | None
    _on_address: Callable[[str], object]
    _on_failure: Callable[[str], object]
    _keeping: Deferred[None] | None = field(init=False, default=None)
    _program: StartedProgram | None = field(init=False, default=None)
    log = Logger()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._keeping = Deferred.fromCoroutine(self._keep_up())
        self._keeping.addErrback(self._failed)

    def _failed(self, reason: Any) -> None:
        if reason.check(CancelledError) is None:
            self.log.failure("The tunnel is not kept up any more", reason)

    async def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._keeping is not None:
            self._keeping.cancel()
        program, self._program = self._program, None
        if program is None or program.ended.has_fired:
            return
        program.terminate()
        ended = program.ended.when_fired().addTimeout(STOP_TIMEOUT, self._reactor)
        await ended.addErrback(lambda _: program.end())

    async def _keep_up(self) -> None:
        delay = RESTART_DELAY
        while True:
            begun = self._reactor.seconds()
            self._on_failure(await self._run())
            if self._reactor.seconds() - begun > STEADY_AFTER:
                delay = RESTART_DELAY
            await deferLater(self._reactor, delay)
            delay = min(2 * delay, MAX_RESTART_DELAY)

    async def _run(self) -> str:
        """Run the program until it ends; a sentence on how it did."""
        try:
            argv = self._tunnel.argv(self._tunnel.program(), self._url)
            descriptor, output = open_output(self._home, "tunnel")
        except (ConfigurationError, OSError) as error:
            return str(error)
        name = f"the tunnel ({self._tunnel.kind})"
        start = StartCommand(argv, str(self._home.path), dict(os.environ))
        try:
            spawned = spawn_program(
                self._reactor, start, {}, output=descriptor, name=name, with_parent=True
            )
        except ProgramNotStarted as error:
            return str(error)
        finally:
            os.close(descriptor)
        program = self._program = StartedProgram(
            *(self._reactor, self._processes, spawned.child, spawned.mark),
            name,
            output,
            Secrets(),
        )
        await self._find_address(program, output)
        how = await program.ended.when_fired()
        return f"{program.explain(how)}; it is started again (output: {output})"

    async def _find_address(self, program: StartedProgram, output: Path) -> None:
        deadline = self._reactor.seconds() + ADDRESS_TIMEOUT
        is_late = False
        while not program.ended.has_fired:
            printed = output.read_text("utf-8", "replace")
            address = self._tunnel.address(printed, self._url, self._public_url)
            if address is not None:
                self._on_address(address)
                return
            if not is_late and self._reactor.seconds() > deadline:
                is_late = True
                late = f"{program.name} has not come up within {ADDRESS_TIMEOUT:.0f} s"
                self._on_failure(f"{program.explain(late)} (output: {output})")
            await deferLater(self._reactor, POLL_INTERVAL)
