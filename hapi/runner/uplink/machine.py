"""This machine at its hub: its registration, link, published state and keep-alive.

Registration is retried for ever; `status` tells why it has not succeeded. What must survive a lost
connection is sent again on each CONNECT: methods (by the link), runner state, workspace roots.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.net.client.hub_client import HubClient
from hapi.net.client.hub_clock import HubClock
from hapi.net.client.link import HubLink, LinkStatus
from hapi.net.client.versioned import VersionedDocument
from hapi.net.common.errors import HubRefused, HubUnreachable, LinkLost
from hapi.net.common.rpc import RpcTable
from hapi.protocol.machine import (
    COMPATIBLE_VERSION,
    MachineMetadata,
    RunnerFacts,
    ShutdownSource,
    with_roots,
)
from hapi.runner.config.options import RunnerOptions
from hapi.runner.uplink.duplicates import DuplicateRunners
from hapi.runner.uplink.keepalive import KeepAlive
from hapi.runner.uplink.refusals import RegistrationRefusals, first_delay

# With the random addition, a hub that comes back sees this machine within five seconds.
FIRST_DELAY, MAX_DELAY = 1.0, 3.5  # seconds between registrations
FIRST_REFUSED_DELAY, MAX_REFUSED_DELAY = 5.0, 300.0  # seconds, if the hub refuses the token
MIN_REGISTER_INTERVAL = 5.0  # seconds between two registrations while the link is up


def retry_delay(error: Exception, attempt: int, random: Random) -> float:
    """Seconds before registration number `attempt` + 1: doubling, plus 0 to 30 percent at random.

    The random part keeps machines from registering all at once.
    """
    first, longest = (
        (FIRST_REFUSED_DELAY, MAX_REFUSED_DELAY)
        if isinstance(error, HubRefused)
        else (FIRST_DELAY, MAX_DELAY)
    )
    return float(min(first * 2.0 ** min(attempt - 1, 30), longest) * (1 + 0.3 * random.random()))


class Machine:
    """`facts` describe this run of the runner; they are known once the control port is open."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: RunnerOptions,
        facts: RunnerFacts,
        rpc: RpcTable,
        *,
        client: HubClient | None = None,
        link: HubLink | None = None,
        random: Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._options, self._facts = reactor, options, facts
        self._random = random or Random()
        self._refusals = RegistrationRefusals(options.home, options.access, now)
        self.client = client or HubClient(reactor, options.access)
        auth = {"clientType": "machine-scoped", "machineId": options.machine_id}
        self.hub_clock = HubClock(now)
        self.link = link or HubLink(reactor, options.access, auth, rpc, hub_clock=self.hub_clock)
        self.link.on_connect(self._connected)
        self.link.on_event("update", self._updated)
        self.link.on_event("error", self._error_received)
        self._alive = KeepAlive(
            reactor, self.link, options.machine_id, now, self.hub_clock.milliseconds
        )
        self.duplicates = DuplicateRunners(
            facts, options.machine_id, str(options.home.path), self._publish
        )
        self._state: VersionedDocument | None = None
        self._metadata: VersionedDocument | None = None
        self._spawn_error: dict[str, Any] | None = None
        self._registering: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._registered_at = -MIN_REGISTER_INTERVAL
        self.registered = False
        self.registration_error: str | None = None  # why it is not registered
        self.refused = False
        self.refused_status: int | None = None  # the HTTP status of the last refusal
        self.on_registered: Callable[[], object] = lambda: None
        self.on_not_registered: Callable[[], object] = lambda: None  # after each failed try
        self.stopped = False

    # --- for the runner

    def start(self) -> None:
        """Register, however long that takes, then open the link."""
        self._register(self.link.startService, *self._refusals.load())

    def status(self) -> dict[str, Any]:
        """For people: where the link is and why."""
        status: LinkStatus = self.link.status
        if self.registered:
            phase, reason = status.phase, status.reason
        else:
            phase, reason = ("refused" if self.refused else "connecting"), self.registration_error
        return {
            "url": self._options.access.url,
            "phase": phase,
            "reason": reason,
            "refusedWith": self.refused_status,
        }

    def retry_now(self) -> None:
        """Settings changed, or somebody asks: do not wait for the back-off."""
        if self._pause is not None:
            self._end_pause()

    def publish_spawn_error(self, error: dict[str, Any] | None) -> None:
        """The last start failed like this; None after one that succeeded."""
        if error is None and self._spawn_error is None and self._known_spawn_error() is None:
            return
        self._spawn_error = error
        self._publish()

    def republish(self) -> None:
        """Another socket spoke for this machine for a while: methods and state are ours again."""
        self.link.register_again()
        if self.link.connected:
            self._publish_all()

    def publish_capabilities(self, capabilities: Mapping[str, Any]) -> None:
        """Tell the hub what this runner can do from now on, if that is something else."""
        if capabilities != self._facts.capabilities:
            self._facts = msgspec.structs.replace(self._facts, capabilities=capabilities)
            self._publish()

    async def leave(self, source: ShutdownSource, seconds: float) -> None:
        """Tell the hub that we leave, as far as it listens within `seconds`."""
        self.stopped = True
        self._alive.stop()
        if self._registering is not None:
            self._registering.cancel()
        state = self._state
        if state is not None and self.link.connected:
            at = self.hub_clock.milliseconds()
            self._change(state, lambda stored: self._facts.leaving(stored, source, at))
            if not await state.flushed(seconds):
                self.log.warn(
                    "The hub did not acknowledge within {seconds} s "
                    "that this runner is shutting down",
                    seconds=seconds,
                )

    async def close(self) -> None:
        for document in (self._state, self._metadata):
            if document is not None:
                document.stop()
        await self.link.leave()

    # --- registration

    def _register(self, then: Callable[[], object], refused: int = 0, ago: float = 0.0) -> None:
        registering = Deferred.fromCoroutine(self._keep_registering(then, refused, ago))
        self._registering = None if registering.called else registering
        registering.addErrback(self._registering_failed)

    def _registering_failed(self, reason: Failure) -> None:
        if reason.check(CancelledError) is None:
            self.log.failure("Registration failed", reason)

    async def _keep_registering(self, then: Callable[[], object], refused: int, ago: float) -> None:
        """The hub refused earlier runs `refused` times in a row, the last one `ago` seconds ago."""
        attempt = refused
        if refused:
            self.registration_error, self.refused = (
                "the hub refused this runner before its restart; it waits before it tries again",
                True,
            )
            await self._wait(
                first_delay(retry_delay(HubRefused(0, ""), refused, self._random), ago)
            )
        while True:
            attempt += 1
            try:
                machine = await self.client.register_machine(self._registration())
                break
            except CancelledError:
                raise
            except Exception as error:
                if self.stopped:
                    return
                self._record_error(error)
                if isinstance(error, HubRefused):
                    self._refusals.save(attempt)
                self.on_not_registered()
                await self._wait(retry_delay(error, attempt, self._random))
        self._registering = None
        if attempt > 1:
            self._refusals.clear()
        self._adopt(machine)
        self.registered, self.registration_error, self.refused, self.refused_status = (
            True,
            None,
            False,
            None,
        )
        self._registered_at = self._clock.seconds()
        url, machine_id = self._options.access.url, self._options.machine_id
        self.log.info("Machine {machine_id} is registered at {url}", machine_id=machine_id, url=url)
        then()
        self.on_registered()

    async def _wait(self, seconds: float) -> None:
        """For `seconds`, or until somebody wants it now."""
        self._pause = Deferred()
        timer = self._clock.callLater(seconds, self._end_pause)
        try:
            await self._pause
        finally:
            self._pause = None
            if timer.active():
                timer.cancel()

    def _end_pause(self) -> None:
        if self._pause is not None and not self._pause.called:
            self._pause.callback(None)

    def _record_error(self, error: Exception) -> None:
        """Told when it changes, not at each try."""
        if str(error) != self.registration_error:
            if isinstance(error, HubRefused | HubUnreachable):
                self.log.warn("This machine is not registered: {reason}", reason=str(error))
            else:
                self.log.failure("This machine cannot be registered")
        self.registration_error, self.refused = str(error), isinstance(error, HubRefused)
        self.refused_status = error.status if isinstance(error, HubRefused) else None

    def _registration(self) -> dict[str, Any]:
        metadata = msgspec.to_builtins(describe(self._options))
        return {
            "id": self._options.machine_id,
            "metadata": metadata,
            "runnerState": self._facts.offline(),
        }

    def _adopt(self, machine: Mapping[str, Any]) -> None:
        for document in (self._state, self._metadata):
            if document is not None:
                document.stop()
        self._state = self._document(
            "machine-update-state", "runnerState", machine, "runnerStateVersion"
        )
        self._metadata = self._document(
            "machine-update-metadata", "metadata", machine, "metadataVersion"
        )

    def _document(
        self, event: str, field: str, machine: Mapping[str, Any], version_field: str
    ) -> VersionedDocument:
        def send(value: Any, expected: int) -> Deferred[Mapping[str, Any]]:
            message = {
                "machineId": self._options.machine_id,
                field: value,
                "expectedVersion": expected,
            }
            return self.link.call(event, message).addCallback(self._check_known)

        version = machine.get(version_field)
        return VersionedDocument(
            self._clock,
            send,
            field,
            machine.get(field),
            version if isinstance(version, int) else 1,
            self._random,
        )

    def _check_known(self, answer: Any) -> Any:
        """A hub whose database was replaced does not know us any more."""
        if isinstance(answer, Mapping) and answer.get("reason") == "not-found":
            self._register_again()
        return answer

    def _error_received(self, problem: Any = None, *_: Any) -> None:
        if (
            isinstance(problem, Mapping)
            and problem.get("code") == "not-found"
            and problem.get("scope") == "machine"
        ):
            self._register_again()

    def _register_again(self) -> None:
        if (
            self._registering is None
            and not self.stopped
            and self._clock.seconds() - self._registered_at >= MIN_REGISTER_INTERVAL
        ):
            self.log.warn("The hub does not know this machine; registering it again")
            self._registered_at = self._clock.seconds()
            self._register(self._publish_all)

    # --- what is published

    def _connected(self) -> None:
        self._alive.start()
        self._publish_all()

    def _publish_all(self) -> None:
        for document in (self._state, self._metadata):
            if document is not None:
                document.retry_now()
        self._publish()
        if self._metadata is not None:
            self._change(
                self._metadata, lambda stored: with_roots(stored, self._options.workspace_roots)
            )

    def _publish(self) -> None:
        if self._state is not None:
            self._change(
                self._state,
                lambda stored: self._facts.running(stored) | {"lastSpawnError": self._spawn_error},
            )

    def _known_spawn_error(self) -> Any:
        value = self._state.value if self._state is not None else None
        return value.get("lastSpawnError") if isinstance(value, Mapping) else None

    def _change(self, document: VersionedDocument, rebuild: Callable[[Any], Any]) -> None:
        document.change(rebuild).addErrback(
            lambda reason: reason.trap(LinkLost) and None
        ).addErrback(
            lambda reason: self.log.failure(
                "A change of this machine's state was not stored", reason
            )
        )

    def _updated(self, update: Any = None, *_: Any) -> None:
        """Another socket of this machine wrote its state or metadata."""
        body = update.get("body") if isinstance(update, Mapping) else None
        if not isinstance(body, Mapping) or body.get("machineId") != self._options.machine_id:
            return
        for field, document in (("runnerState", self._state), ("metadata", self._metadata)):
            pushed = body.get(field)
            if (
                document is not None
                and isinstance(pushed, Mapping)
                and isinstance(pushed.get("version"), int)
            ):
                document.adopt(pushed.get("value"), pushed["version"])
        if isinstance(body.get("runnerState"), Mapping) and not self.stopped:
            self.duplicates.check(
                body["runnerState"].get("value"),
                self._metadata.value if self._metadata is not None else None,
            )


def describe(options: RunnerOptions) -> MachineMetadata:
    """What hubs and pages show of this machine."""
    return MachineMetadata(
        host=options.hostname or socket.gethostname(),
        platform={"windows": "win32"}.get(platform.system().lower(), sys.platform),
        happy_cli_version=COMPATIBLE_VERSION,
        home_dir=os.path.expanduser("~"),
        happy_home_dir=str(options.home.path),
        happy_lib_dir=str(Path(__file__).parents[2]),
        supervised_restart=options.supervised,
        workspace_roots=options.workspace_roots or msgspec.UNSET,
    )
