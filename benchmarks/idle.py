"""What rest saves: the memory of idle agents awake and at rest, and the time from a prompt to the
first text of the answer.

    python -m benchmarks idle [--agents N] [--agent NAME] [--idle-time SECONDS]

Memory is the PSS of everything below the session processes, without these. The agent is the
built-in demo unless another is named, which has to be installed and logged in. Those of the tests
(`tests/support/real_agents.py`, such as claude) ask a scripted model on loopback instead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from tests.support.model_endpoint import Model
from tests.support.peers import OURS, Cast, User
from tests.support.programs import until
from tests.support.real_agents import AGENTS


def memory_of_agents(user: User, sessions: list[str]) -> float:
    """MB of all processes below those of `sessions`."""
    found = {}
    for session in sessions:
        for child in process_of(user, session).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended a moment ago
                found[child.pid] = child.memory_full_info().pss
    return sum(found.values()) / 1e6


def process_of(user: User, session: str) -> psutil.Process:
    row = user.session(session)
    try:
        return psutil.Process(row["metadata"]["hostPid"])
    except psutil.NoSuchProcess:
        said = [each for each in user.records(session) if each["type"] == "event"]
        reason = row["metadata"].get("archiveReason")
        raise RuntimeError(f"A session has ended ({reason}): {said[-3:]}") from None


def seconds_to_text(user: User, session: str, prompt: str) -> float:
    before, start = len(user.texts(session)), time.monotonic()
    user.say(session, prompt)
    until(lambda: len(user.texts(session)) > before, what="the first text")
    elapsed = time.monotonic() - start
    user.idle(session)
    return elapsed


def use_scripted_model(cast: Cast, name: str, model: Model) -> None:
    """Have the real agent called `name` ask `model`; other agents are left as they are."""
    for agent in AGENTS:
        if agent.name == name:
            cast.environment.update(agent.prepare(cast.directory("user"), model.url))
            cast.environment["PATH"] = os.pathsep.join([*agent.search_path, cast.base["PATH"]])


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks idle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--agents", type=int, default=20, metavar="N")
    parser.add_argument("--agent", default="demo")
    parser.add_argument("--idle-time", type=int, default=60, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    path = Path(tempfile.mkdtemp(prefix="hapi-bench-"))
    cast = Cast(path, token="benchmark-token-of-no-value")
    stack = ExitStack()
    try:
        use_scripted_model(cast, arguments.agent, stack.enter_context(Model()))
        _, user = cast.hub(OURS)
        runner = cast.runner(OURS, user, HAPI_IDLE_AGENT=f"{arguments.idle_time}s")
        place = cast.directory("project")
        sessions = [
            user.started(runner.machine_id, place, arguments.agent) for _ in range(arguments.agents)
        ]
        first = [seconds_to_text(user, session, "plan: one") for session in sessions]
        awake = [seconds_to_text(user, session, "plan: two") for session in sessions]
        before = memory_of_agents(user, sessions)
        until(
            lambda: all("agentRest" in user.session(one)["metadata"] for one in sessions),
            arguments.idle_time + 120.0,
            "the rest of all agents",
        )
        time.sleep(2.0)
        after = memory_of_agents(user, sessions)
        woken = [seconds_to_text(user, session, "plan: three") for session in sessions]
    finally:
        cast.end()
        stack.close()
        shutil.rmtree(path, ignore_errors=True)
    print(f"{arguments.agents} agents ({arguments.agent}), load {os.getloadavg()[0]:.1f}")
    print(f"memory of the agents: awake {before:.1f} MB, at rest {after:.1f} MB")
    for what, times in (("first prompt", first), ("awake", awake), ("woken", woken)):
        print(f"prompt to text, {what}: median {statistics.median(times):.2f} s", end="")
        print(f", worst {max(times):.2f} s")
