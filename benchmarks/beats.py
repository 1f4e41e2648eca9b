"""What a runner costs while nothing happens: processor time of an idle minute, and of a beat over a
thousand sessions."""

from __future__ import annotations

import time

from benchmarks.calling import silences
from benchmarks.crowds import crowd
from benchmarks.frame import MAKES, Bench, Limit, cpu
from benchmarks.spawning import at_once

IDLE = 20  # sessions
TRACKED = 1000
BEAT, BEATS = 1.0, 15  # seconds between beats while they are measured, and how many


def measure(bench: Bench) -> None:
    idle(bench)
    beat(bench)


def idle(bench: Bench) -> None:
    """Both makes in the same minutes: idle programs take nothing from one another."""
    runners = {make: bench.runner(make) for make in MAKES}
    minute(bench, runners, "runner: processor time of an idle minute (ms)", Limit(ratio=1.0))
    sessions = {make: at_once(bench, running, IDLE)[1] for make, running in runners.items()}
    pids = {make: [bench.pid_of(session) for session in ids] for make, ids in sessions.items()}
    minute(
        bench, runners, f"runner: the same with {IDLE} idle sessions (ms)", Limit(ratio=1.0), pids
    )
    for make, running in runners.items():
        bench.end(sessions[make])
        bench.leave(running)


def minute(
    bench: Bench, runners: dict, name: str, limit: Limit, sessions: dict | None = None
) -> None:
    time.sleep(10.0)  # what starting has left to do
    before = {make: cpu(running.program.pid) for make, running in runners.items()}
    theirs = {make: sum(map(cpu, pids)) for make, pids in (sessions or {}).items()}
    time.sleep(60.0)
    for make, running in runners.items():
        bench.note(name, make, (cpu(running.program.pid) - before[make]) * 1000, limit)
    for make, pids in (sessions or {}).items():
        each = (sum(map(cpu, pids)) - theirs[make]) * 1000 / len(pids)
        bench.note("session: processor time of an idle minute (ms)", make, each, Limit(ratio=1.0))


def beat(bench: Bench) -> None:
    """By processor time of many quick beats, less that of as long a time without."""
    for make in MAKES:
        running = bench.runner(make, HAPI_RUNNER_HEARTBEAT_INTERVAL=str(int(BEAT * 1000)))
        calm = spent(running.program.pid)
        program = crowd(bench, running, TRACKED)
        time.sleep(5.0)
        busy = spent(running.program.pid)
        bench.note("beat over no session, processor time (ms)", make, calm / BEATS * 1000)
        more = max(busy - calm, 0.0)  # noise is larger than what npm does
        bench.note(
            f"beat over {TRACKED} sessions, processor time (ms)",
            make,
            more / BEATS * 1000,
            Limit(most=10),
        )
        with silences(int(running.state["httpPort"]), pause=0.01) as found:
            time.sleep(BEAT * BEATS)
        typical = found["p50"]
        bench.note(f"/list of {TRACKED} between beats (ms)", make, typical * 1000)
        bench.note(
            "longest control silence in beats (ms)", make, found["longest"] * 1000, Limit(most=50)
        )
        program.end()
        bench.leave(running)


def spent(pid: int) -> float:
    before = cpu(pid)
    time.sleep(BEAT * BEATS)
    return cpu(pid) - before
