"""How long a stop takes: of a plain session, of many that are deaf to SIGTERM; and how long nobody
is answered meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks.calling import silences
from benchmarks.frame import (
    MAKES,
    Bench,
    Control,
    Limit,
    Running,
    alive,
    marked,
    median,
    timed,
    until,
)

DEAF = 8  # sessions, each with one process below it, that ignore SIGTERM


def measure(bench: Bench) -> None:
    plain(bench)
    for make in MAKES:
        running = bench.runner(make, HAPI_CLI_EXECUTABLE=bench.puppet())
        deaf(bench, running)
        tree(bench, running)
        bench.leave(running)


def plain(bench: Bench) -> None:
    """A real session with the scripted agent: until the runner answers; and from the page's Archive
    until all of it is gone."""
    runners = {make: bench.runner(make) for make in MAKES}
    by_control: dict[str, list[float]] = {make: [] for make in MAKES}
    by_hub: dict[str, list[float]] = {make: [] for make in MAKES}
    for _ in range(bench.arguments.rounds * 2):
        for make, running in runners.items():
            control = Control(running)
            session, _pids = settled(bench, running)
            seconds, answer = timed(
                lambda session=session, control=control: control.post(
                    "/stop-session", {"sessionId": session}
                )
            )
            assert answer == {"status": "stopped"}, answer
            by_control[make].append(seconds)
            control.close()
            session, pids = settled(bench, running)
            by_hub[make].append(
                timed(lambda session=session, pids=pids: archive(bench, session, pids))[0]
            )
    for make, running in runners.items():
        bench.note(
            "stop of a session, control API (s)", make, median(by_control[make]), Limit(ratio=1.0)
        )
        bench.note(
            "stop of a session, archived at the hub (s)",
            make,
            median(by_hub[make]),
            Limit(most=0.065),
        )
        bench.leave(running)


def settled(bench: Bench, running: Running) -> tuple[str, list[int]]:
    """A session whose agent has answered, and its processes."""
    before = {process.pid for process in marked(bench.cast.mark)}
    session = bench.spawn(running)
    until(lambda: bench.user.session(session)["active"])
    bench.user.say(session, "hello")
    until(lambda: bench.user.texts(session), what="the agent's answer")
    return session, [
        process.pid for process in marked(bench.cast.mark) if process.pid not in before
    ]


def archive(bench: Bench, session: str, pids: list[int]) -> None:
    bench.user.post(f"/api/sessions/{session}/archive")
    while any(alive(pid) for pid in pids):
        pass


def deaf(bench: Bench, running: Running) -> None:
    control = Control(running)
    sessions = [
        bench.ask_to_spawn(control, bench.cast.directory(f"deaf-{number}"))
        for number in range(DEAF)
    ]

    def stop(session: str) -> str:
        own = Control(running)
        try:
            return str(own.post("/stop-session", {"sessionId": session})["status"])
        finally:
            own.close()

    with ThreadPoolExecutor(DEAF) as pool:
        seconds, answers = timed(lambda: list(pool.map(stop, sessions)))
    bench.note(
        f"stop of {DEAF}+{DEAF} deaf processes at once (s)", running.make, seconds, Limit(most=3.0)
    )
    bench.note(
        "… sessions called stopped", running.make, answers.count("stopped"), Limit(least=DEAF)
    )
    left = [process for process in marked(bench.cast.mark) if "sleep" in process.name()]
    bench.note("… processes alive afterwards", running.make, len(left), Limit(most=0))
    for process in left:
        process.kill()
    control.close()


def tree(bench: Bench, running: Running) -> None:
    longest, took = [], []
    for number in range(max(bench.arguments.rounds // 2, 2)):
        control = Control(running)
        session = bench.ask_to_spawn(control, bench.cast.directory(f"tree-{number}"))
        with silences(control.port) as found:
            seconds, answer = timed(
                lambda session=session, control=control: control.post(
                    "/stop-session", {"sessionId": session}
                )
            )
        assert answer["status"] == "stopped", answer
        longest.append(found["longest"])
        took.append(seconds)
        control.close()
    bench.note("stop of a tree of 100 (s)", running.make, median(took))
    bench.note(
        "longest control silence meanwhile (s)", running.make, median(longest), Limit(most=0.05)
    )
