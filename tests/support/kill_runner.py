"""`hapi` that falls into a trap: `kill_runner.py WORDS…`. The file named by HAPI_TEST_TRAP says
`POINT SIGNAL PID`.

Before and after each function of PLACES is a point, and every step that the runner itself names is
one. Whoever comes to the point in the file takes the file away and sends itself the signal; a PID
other than 0 says that only that process does, or, when negative, that it does not.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

PLACES = {
    "start": (
        "hapi.runner.lock.home_lock:RunnerLock.try_acquire",
        "hapi.runner.lock.home_lock:RunnerLock._settle",
        "hapi.runner.control.listeners:Listeners.open",
        "hapi.runner.control.listeners:Listeners.open_unix",
        "hapi.runner.storage.state_file:StateFile.set_aside_if_broken",
        "hapi.runner.storage.state_file:StateFile.write",
        "hapi.runner.storage.journal:Journal.record",
        "hapi.runner.attempts.adoption:Adoption._take",
        "hapi.runner.attempts.adoption:Adoption.run",
        "hapi.runner.uplink.machine:Machine.start",
        "hapi.net.client.hub_client:HubClient.register_machine",
        "hapi.runner.uplink.machine:Machine._connected",
    ),
    "spawn": (
        "hapi.attempts:AttemptFolder.create",
        "hapi.runner.spawn.start_request:StartRequest.prepare",
        "hapi.process.system:start_holder",
        "hapi.process.system:SystemProcesses._launch",
        "hapi.runner.attempts.registry:ChildRegistry.watch",
        "hapi.runner.control.announcements:Announcements._save_session",
        "hapi.runner.attempts.registry:ChildRegistry.record_session",
        "hapi.runner.storage.journal:Journal.record",
    ),
    "stop": (
        "hapi.runner.attempts.termination:ChildTermination._save_order",
        "hapi.process.system:SystemProcesses.end_tree",
        "hapi.runner.attempts.registry:ChildRegistry._reported_exit",
        "hapi.runner.attempts.registry:ChildRegistry._save_end",
        "hapi.runner.attempts.registry:ChildRegistry.mark_ended",
        "hapi.runner.attempts.termination:ChildTermination._terminate",
    ),
    "beat": (
        "hapi.runner.lock.home_lock:RunnerLock.verify_ownership",
        "hapi.runner.attempts.reports:ReportMonitor.refresh",
        "hapi.runner.storage.state_file:StateFile._put",
        "hapi.runner.storage.state_file:StateFile.save",
        "hapi.runner.attempts.retention:Retention.outdated",
        "hapi.runner.heartbeat:Heartbeat._guarded",
    ),
    "leave": (
        "hapi.runner.uplink.machine:Machine.leave",
        "hapi.runner.uplink.machine:Machine.close",
        "hapi.runner.control.listeners:Listeners.close",
        "hapi.runner.attempts.registry:ChildRegistry.detach",
        "hapi.runner.storage.state_file:StateFile.remove_if",
        "hapi.runner.lock.npm_lock:NpmLockFile.release",
        "hapi.runner.lock.flock:FlockFile.release",
    ),
    "old": (
        "hapi.runner.handoff.replacement:start_replacement",
        "hapi.runner.handoff.channel:HandoffChannel.receive",
        "hapi.runner.control.listeners:Listeners.pause",
        "hapi.runner.handoff.channel:HandoffChannel.send",
        "hapi.runner.control.client:ControlClient.status",
        "hapi.runner.handoff.outgoing:OutgoingHandoff._await_verified",
        "hapi.runner.handoff.outgoing:OutgoingHandoff.run",
        "hapi.runner.uplink.machine:Machine.close",
        "hapi.runner.control.listeners:Listeners.leave_open",
        "hapi.runner.lock.home_lock:RunnerLock.abandon",
    ),
    "new": (
        "hapi.runner.handoff.descriptors:verify_inherited",
        "hapi.runner.lock.home_lock:RunnerLock.adopt",
        "hapi.runner.handoff.channel:HandoffChannel.send",
        "hapi.runner.handoff.channel:HandoffChannel.receive",
        "hapi.runner.lock.npm_lock:NpmLockFile.replace",
        "hapi.runner.lock.home_lock:RunnerLock.replace_owner",
        "hapi.runner.control.listeners:Listeners.adopt",
        "hapi.runner.storage.state_file:StateFile.write",
        "hapi.runner.attempts.adoption:Adoption.run",
        "hapi.net.client.hub_client:HubClient.register_machine",
        "hapi.runner.uplink.machine:Machine._connected",
        "hapi.runner.heartbeat:Heartbeat._guarded",
    ),
}


def short(place: str) -> str:
    return place.partition(":")[2]


def points(phase: str, *sides: str) -> list[str]:
    """The points of a phase, in order: `before NAME`, `after NAME`."""
    return [f"{side}:{short(place)}" for place in PLACES[phase] for side in sides]


def at(point: str) -> None:
    """Fall into the trap if it is here."""
    try:
        with open(os.environ["HAPI_TEST_TRAP"], encoding="ascii") as file:
            where, name, pid = file.read().split()
    except (OSError, ValueError):
        return
    if (where == point and int(pid) in (0, os.getpid())) or (
        where == point and int(pid) < 0 and -int(pid) != os.getpid()
    ):
        os.unlink(os.environ["HAPI_TEST_TRAP"])
        os.kill(os.getpid(), signal.Signals[name])


def watched(name: str, really: Callable[..., Any]) -> Callable[..., Any]:
    async def finish(doing: Any) -> Any:
        result = await doing
        at(f"after:{name}")
        return result

    def passed(result: Any) -> Any:
        at(f"after:{name}")
        return result

    @functools.wraps(really)
    def call(*arguments: Any, **more: Any) -> Any:
        at(f"before:{name}")
        result = really(*arguments, **more)
        if hasattr(result, "send"):
            return finish(result)
        return result.addCallback(passed) if isinstance(result, Deferred) else passed(result)

    return call


def set_up() -> None:
    """Wrap all places; a name that is no more is an error."""
    for place in sorted({place for phase in PLACES.values() for place in phase}):
        module, _, path = place.partition(":")
        owner: Any = importlib.import_module(module)
        *classes, name = path.split(".")
        for each in classes:
            owner = getattr(owner, each)
        found = vars(owner)[name]
        if isinstance(found, classmethod):
            setattr(owner, name, classmethod(watched(path, found.__func__)))
        else:
            setattr(owner, name, watched(path, found))


def main() -> int:
    from hapi.__main__ import main
    from hapi.runner.handoff import outgoing as handoff
    from hapi.runner.handoff import trial
    from hapi.runner.handoff import upgrade as watch
    from hapi.runner.service import RunnerService

    watch.CONFIRM_DELAY, watch.FAILURE_DELAY, watch.MAX_TRIES = (
        0.1,
        float(os.environ.get("HAPI_TEST_AFTER_FAILURE", "0.5")),
        100_000,
    )
    trial.TRIAL_TIMEOUT = 120.0  # a start takes longer than 20 s where many tests run at once
    handoff.HANDOFF_TIMEOUT = float(os.environ.get("HAPI_TEST_PATIENCE", "30"))
    set_up()
    told = RunnerService._step

    def step(self: RunnerService, name: str) -> None:
        told(self, name)
        at(f"step:{name.replace(' ', '-')}")

    RunnerService._step = step
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
