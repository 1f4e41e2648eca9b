"""What a runner and a session keep in memory.

RSS as the system shows it, PSS with shared pages divided among the sharers.
"""

from __future__ import annotations

import time

import psutil

from benchmarks.frame import MAKES, Bench, Limit, marked, until

SETTLED = 8.0  # seconds after which memory is read


def measure(bench: Bench) -> None:
    for make in MAKES:
        running = bench.runner(make)
        time.sleep(SETTLED)
        rss, pss = size([psutil.Process(running.program.pid)])
        bench.note("runner: idle RSS (MB)", make, rss, Limit(ratio=0.5))
        bench.note("runner: idle PSS (MB)", make, pss, Limit(ratio=0.5))
        before = {process.pid for process in marked(bench.cast.mark)}
        session = bench.spawn(running)
        until(lambda session=session: bench.user.session(session)["active"])
        bench.user.say(session, "hello")
        until(lambda session=session: bench.user.texts(session), what="the agent's answer")
        time.sleep(SETTLED)
        new = [process for process in marked(bench.cast.mark) if process.pid not in before]
        rss, pss = size([process for process in new if not is_agent(process)])
        bench.note("session with its holder: RSS (MB)", make, rss, Limit(ratio=0.5))
        bench.note("session with its holder: PSS (MB)", make, pss, Limit(ratio=0.5))
        bench.end([session])
        bench.leave(running)


def is_agent(process: psutil.Process) -> bool:
    return any("scripted_agent" in word for word in process.cmdline())


def size(processes: list[psutil.Process]) -> tuple[float, float]:
    """RSS and PSS of the processes together, MB."""
    infos = [process.memory_full_info() for process in processes]
    return sum(info.rss for info in infos) / 2**20, sum(info.pss for info in infos) / 2**20
