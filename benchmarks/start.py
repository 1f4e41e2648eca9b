"""How long a runner takes from exec until the hub shows it, on a fresh home and on one that was
used before."""

from __future__ import annotations

import time

from benchmarks.frame import MAKES, Bench, Limit, median


def measure(bench: Bench) -> None:
    fresh: dict[str, list[float]] = {make: [] for make in MAKES}
    used: dict[str, list[float]] = {make: [] for make in MAKES}
    for _ in range(bench.arguments.rounds):
        for make in MAKES:
            home = bench.home(make)
            for times in (fresh, used):
                began = time.perf_counter()
                running = bench.runner(make, home)
                times[make].append(time.perf_counter() - began)
                bench.leave(running)
    for make in MAKES:
        bench.note(
            "runner: exec to active, fresh home (s)", make, median(fresh[make]), Limit(ratio=1.0)
        )
        bench.note(
            "runner: exec to active, used home (s)", make, median(used[make]), Limit(ratio=1.5)
        )
