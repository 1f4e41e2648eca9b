"""How fast `/list` is answered while 100 sessions are tracked, by one caller and by sixteen."""

from __future__ import annotations

from benchmarks.calling import load
from benchmarks.crowds import crowd
from benchmarks.frame import MAKES, Bench, Limit, median

TRACKED, SECONDS = 100, 3.0
CALLERS = (1, 16)


def measure(bench: Bench) -> None:
    runners = {make: bench.runner(make) for make in MAKES}
    crowds = {make: crowd(bench, running, TRACKED) for make, running in runners.items()}
    ports = {make: int(running.state["httpPort"]) for make, running in runners.items()}
    for make in MAKES:
        load(ports[make], 16, 1.0)  # the modules are loaded, npm's code is compiled
    for callers in CALLERS:
        found: dict[str, list[dict[str, float]]] = {make: [] for make in MAKES}
        for _ in range(bench.arguments.rounds):
            for make in MAKES:
                found[make].append(load(ports[make], callers, SECONDS))
        for make in MAKES:
            rate = median(round["rate"] for round in found[make])
            bench.note(
                f"/list of {TRACKED}, {callers} at once (a second)", make, rate, Limit(least=1500)
            )
            late = median(round["p99"] for round in found[make])
            bench.note(
                f"/list of {TRACKED}, {callers} at once, p99 (ms)",
                make,
                late * 1000,
                Limit(most=10),
            )
    for make, running in runners.items():
        crowds[make].end()
        bench.leave(running)
