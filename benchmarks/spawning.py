"""Time of a spawn through the hub, alone and many at once, and the control API's silence then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.calling import silences
from benchmarks.frame import MAKES, Bench, Limit, Running, median, timed


def measure(bench: Bench) -> None:
    runners = {make: bench.runner(make) for make in MAKES}
    in_a_row: dict[str, list[float]] = {make: [] for make in MAKES}
    for _ in range(bench.arguments.rounds * 2):
        for make, running in runners.items():
            seconds, session = timed(lambda running=running: bench.spawn(running))
            in_a_row[make].append(seconds)
            bench.end([session])
    count = bench.arguments.at_once
    together: dict[str, list[float]] = {make: [] for make in MAKES}
    silence: dict[str, list[float]] = {make: [] for make in MAKES}
    for _ in range(max(bench.arguments.rounds // 2, 1)):
        for make, running in runners.items():
            seconds, longest, sessions = at_once(bench, running, count)
            assert len(set(sessions)) == count
            together[make].append(seconds)
            silence[make].append(longest)
            bench.end(sessions)
    for make, running in runners.items():
        bench.note(
            "spawn through the hub, in a row (s)", make, median(in_a_row[make]), Limit(ratio=1.0)
        )
        bench.note(
            f"spawn through the hub, {count} at once (s)",
            make,
            median(together[make]),
            Limit(ratio=1.0),
        )
        bench.note(
            "… longest silence of the control API meanwhile (s)",
            make,
            median(silence[make]),
            Limit(most=0.05),
        )
        bench.leave(running)


def at_once(bench: Bench, running: Running, count: int) -> tuple[float, float, list[str]]:
    """Seconds until all are answered, longest wait for an answer to `/list`, session ids."""
    port = int(running.state["httpPort"])
    with ThreadPoolExecutor(count) as pool, silences(port, pause=0.0) as found:
        seconds, sessions = timed(
            lambda: list(pool.map(lambda _: bench.spawn(running), range(count)))
        )
    return seconds, found["longest"], sessions
