"""Compares our runner and session with npm's on one hub, in one run: memory, start-up, spawning. Prints ratios, writes JSON.

    python -m benchmarks [--hub npm|ours] [--rounds N] [--at-once N] [--json FILE]

Each number is taken of both makes in turn, on the same hub and with the same scripted agent. Times are medians in
seconds, memory is in MB: RSS as the system shows it, PSS with shared pages divided among those who share them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/programs"), str(HERE.parent / "tests/peers")]

from programs import NPM, NPM_BINARY, OUR_HAPI, OURS, Cast, Running, User  # noqa: E402
from support import marked, until  # noqa: E402

MAKES = (OURS, NPM)
AGENT = "kimi"  # which flavour the scripted agent stands in for
SETTLED = 8.0  # seconds after which memory is read
T = TypeVar("T")
Figures = dict[str, dict[str, float]]  # name → make → value


class Bench:
    """One run: a hub, and runners of both makes that come and go."""

    def __init__(self, cast: Cast, user: User, arguments: argparse.Namespace) -> None:
        self.cast, self.user, self.arguments = cast, user, arguments
        self.figures: Figures = {}
        self._serial = 0

    def note(self, name: str, make: str, value: float) -> None:
        self.figures.setdefault(name, {})[make] = round(value, 4)
        print(f"  {make:5} {name}: {value:.3f}", file=sys.stderr, flush=True)

    def runner(self, make: str, home: Path) -> tuple[Running, float]:
        """Start a runner; the seconds from exec until the hub shows this very process as running."""
        self._serial += 1
        argv = [NPM_BINARY, "runner", "start-sync"] if make == NPM else [*OUR_HAPI, "runner", "start-sync"]
        began = time.perf_counter()
        program = self.cast.start(f"{make}-{self._serial}", argv, self.cast.settings(self.user, home, ""))

        def shown() -> bool:
            states = [machine["runnerState"] or {} for machine in self.user.machines() if machine["active"]]
            return any(state.get("pid") == program.pid and state.get("status") == "running" for state in states)

        program.ready(shown, 30.0)
        return Running(make, program, home), time.perf_counter() - began

    def leave(self, running: Running) -> None:
        running.program.end()

    def home(self, make: str) -> Path:
        self._serial += 1
        return self.cast.home(make, f"home-{self._serial}")

    # --- what is measured ---------------------------------------------------------------------------------------

    def start_up(self) -> None:
        fresh: dict[str, list[float]] = {make: [] for make in MAKES}
        used: dict[str, list[float]] = {make: [] for make in MAKES}
        for _ in range(self.arguments.rounds):
            for make in MAKES:
                home = self.home(make)
                for times in (fresh, used):
                    running, seconds = self.runner(make, home)
                    times[make].append(seconds)
                    self.leave(running)
        for make in MAKES:
            self.note("runner: exec to active, fresh home (s)", make, statistics.median(fresh[make]))
            self.note("runner: exec to active, used home (s)", make, statistics.median(used[make]))

    def memory(self) -> None:
        for make in MAKES:
            running, _ = self.runner(make, self.home(make))
            time.sleep(SETTLED)
            rss, pss = size([psutil.Process(running.program.pid)])
            self.note("runner: idle RSS (MB)", make, rss)
            self.note("runner: idle PSS (MB)", make, pss)
            before = {process.pid for process in marked(self.cast.mark)}
            session = self.spawn(running)
            until(lambda session=session: self.user.session(session)["active"])
            self.user.say(session, "hello")
            until(lambda session=session: self.user.texts(session), what="the agent's answer")
            time.sleep(SETTLED)
            new = [process for process in marked(self.cast.mark) if process.pid not in before]
            rss, pss = size([process for process in new if not is_agent(process)])
            self.note("session with its holder: RSS (MB)", make, rss)
            self.note("session with its holder: PSS (MB)", make, pss)
            self.end([session])
            self.leave(running)

    def spawning(self) -> None:
        for make in MAKES:
            running, _ = self.runner(make, self.home(make))
            in_a_row = []
            for _ in range(self.arguments.rounds * 2):
                seconds, session = timed(lambda running=running: self.spawn(running))
                in_a_row.append(seconds)
                self.end([session])
            self.note("spawn through the hub, in a row (s)", make, statistics.median(in_a_row))
            count = self.arguments.at_once
            seconds, sessions = self.at_once(running, count)
            assert len(set(sessions)) == count
            self.note(f"spawn through the hub, {count} at once (s)", make, seconds)
            self.end(sessions)
            self.leave(running)

    def at_once(self, running: Running, count: int) -> tuple[float, list[str]]:
        with ThreadPoolExecutor(count) as pool:
            return timed(lambda: list(pool.map(lambda _: self.spawn(running), range(count))))

    def spawn(self, running: Running) -> str:
        answer = self.user.spawn(running.machine_id, self.cast.directory("project"), AGENT)
        assert answer["type"] == "success", answer
        return str(answer["sessionId"])

    def end(self, sessions: list[str]) -> None:
        """End the session processes and wait until the runner has seen it."""
        pids = [self.user.session(session)["metadata"]["hostPid"] for session in sessions]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30.0, "the sessions to end")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def is_agent(process: psutil.Process) -> bool:
    return any("scripted_agent" in word for word in process.cmdline())


def size(processes: list[psutil.Process]) -> tuple[float, float]:
    """RSS and PSS of the processes together, MB."""
    infos = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in infos) / 2**20, sum(info.pss for info in infos) / 2**20


def table(figures: Figures) -> str:
    width = max(len(name) for name in figures)
    lines = [f"{'':{width}}  {'ours':>9}  {'npm':>9}  {'ours/npm':>8}"]
    for name, of in figures.items():
        lines.append(f"{name:{width}}  {of[OURS]:9.3f}  {of[NPM]:9.3f}  {of[OURS] / of[NPM]:8.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", choices=MAKES, default=NPM, help="whose hub both makes run on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=20, metavar="N", help="spawns at the same time")
    parser.add_argument("--only", choices=["start_up", "memory", "spawning"], nargs="*", help="measure these only")
    parser.add_argument("--json", type=Path, default=HERE.parent / ".cache/bench.json", help="where the numbers go")
    arguments = parser.parse_args()

    path = Path(tempfile.mkdtemp(prefix="hapi-bench-"))
    cast = Cast(path, token="benchmark-token-of-no-value")
    try:
        agent = cast.directory("bin") / AGENT
        agent.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {HERE / "scripted_agent.py"} "$@"\n')
        agent.chmod(0o755)
        cast.environment["PATH"] = os.pathsep.join([str(agent.parent), cast.base["PATH"]])
        _, user = cast.hub(arguments.hub)
        bench = Bench(cast, user, arguments)
        for measure in arguments.only or ["start_up", "memory", "spawning"]:
            getattr(bench, measure)()
    finally:
        cast.end()
        shutil.rmtree(path, ignore_errors=True)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    about = {"hub": arguments.hub, "rounds": arguments.rounds, "cores": os.cpu_count(), "python": sys.version.split()[0]}
    arguments.json.write_text(json.dumps({**about, "figures": bench.figures}, indent=2))
    print(table(bench.figures))


if __name__ == "__main__":
    main()
