"""How soon all is well again: after a hub that came late, after a hub's restart, after a runner
that was killed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.frame import (
    MAKES,
    Bench,
    Control,
    Limit,
    Program,
    Running,
    User,
    free_port,
    median,
    quietly,
)

HEAD_START = 20.0  # seconds that a runner is there before its hub
SESSIONS = 100
PATIENCE = 60.0  # seconds


def measure(bench: Bench) -> None:
    late_hub(bench)
    hub_restart(bench)
    runner_restart(bench)


def late_hub(bench: Bench) -> None:
    """Both runners wait for the same hub."""
    port = free_port()
    user = User(f"http://127.0.0.1:{port}", bench.cast.token)
    runners = [bench.launch(make, bench.home(make), user) for make in MAKES]
    time.sleep(HEAD_START)
    hub, user = bench.cast.hub(bench.arguments.hub, port)
    began = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        seconds = list(
            pool.map(lambda running: until_seen(began, bench.is_active, running, user), runners)
        )
    for running, each in zip(runners, seconds, strict=True):
        bench.note(
            f"runner {HEAD_START:.0f} s before its hub: hub up to active (s)",
            running.make,
            each,
            Limit(most=5),
        )
        bench.leave(running)
    hub.program.end()


def until_seen(began: float, look: Callable[..., bool], *arguments: object) -> float:
    """Seconds since `began` when `look` first gives something true."""
    while not quietly(partial(look, *arguments)):
        if time.perf_counter() - began > PATIENCE:
            raise TimeoutError("it did not come back")
        time.sleep(0.02)
    return time.perf_counter() - began


def hub_restart(bench: Bench) -> None:
    """Until a request that the hub passes on is answered by the runner again."""
    times: dict[str, list[float]] = {make: [] for make in MAKES}
    port = free_port()
    hub, user = bench.cast.hub(bench.arguments.hub, port)
    runners = [bench.launch(make, bench.home(make), user) for make in MAKES]
    for running in runners:
        running.program.ready(
            lambda running=running: quietly(lambda: bench.is_active(running, user)), 60.0
        )
    for _ in range(max(bench.arguments.rounds, 3)):
        hub.program.end(signal.SIGKILL)
        time.sleep(2.0)
        hub.program = again(bench, hub, port, user)
        began = time.perf_counter()
        with ThreadPoolExecutor() as pool:
            found = list(
                pool.map(partial(until_seen, began, reaches), runners, [user] * len(runners))
            )
        for running, each in zip(runners, found, strict=True):
            times[running.make].append(each)
        time.sleep(2.0)
    for running in runners:
        bench.note(
            "hub restarted: hub up to a request answered (s)",
            running.make,
            median(times[running.make]),
            Limit(ratio=1.0),
        )
        bench.leave(running)
    hub.program.end()


def again(bench: Bench, hub: Running, port: int, user: User) -> Program:
    """The same hub on the same home."""
    program = bench.cast.start(
        "hub-again",
        hub.program.argv,
        {
            "HAPI_HOME": str(hub.home),
            "HAPI_LISTEN_HOST": "127.0.0.1",
            "HAPI_LISTEN_PORT": str(port),
            "CLI_API_TOKEN": bench.cast.token,
            "HAPI_IOS_PUSH": "off",
        },
    )
    program.ready(lambda: quietly(lambda: user.get("/health")), 60.0)
    return program


def reaches(running: Running, user: User) -> bool:
    asked = user.call(
        "POST", f"/api/machines/{running.machine_id}/paths/exists", {"paths": ["/tmp"]}, 5.0
    )
    return bool(asked["exists"]["/tmp"])


def runner_restart(bench: Bench) -> None:
    """From exec of the new runner until all sessions of the killed one are in `/list`; then each of
    them is stopped."""
    for make in MAKES:
        home = bench.home(make)
        environment = {"HAPI_CLI_EXECUTABLE": bench.puppet()}
        running = bench.runner(make, home, **environment)
        control = Control(running)
        directory = bench.cast.directory("plain")
        ids = {bench.ask_to_spawn(control, directory) for _ in range(SESSIONS)}
        control.close()
        running.program.end(signal.SIGKILL)
        began = time.perf_counter()
        running = bench.launch(make, home, **environment)
        while running.state.get("pid") != running.program.pid:
            time.sleep(0.005)  # between two looks
        control = Control(running)
        listed = len([child for child in control.children() if child["happySessionId"] in ids])
        seconds = time.perf_counter() - began
        name = f"runner killed with {SESSIONS} sessions: exec to all in its list (s)"
        bench.note(
            name, make, seconds if listed == SESSIONS else None, Limit(most=1), f"{listed} listed"
        )
        stopped = sum(
            control.post("/stop-session", {"sessionId": one})["status"] == "stopped" for one in ids
        )
        bench.note("… and stopped by it", make, stopped, Limit(least=SESSIONS))
        control.close()
        bench.leave(running)
