"""Many processes that want one home at the same moment. Run as

    python lock_starters.py HOME KIND ROUNDS OURS NPM SEED runner start-sync

prints one JSON object for each round: who won. The last two words make every process here look like
a runner, to npm's programs and to our judgement. KIND says what lies in the lock's place before the
start.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen
from twisted.internet.task import Clock

from hapi.home import Home
from hapi.process.system import SystemProcesses
from hapi.runner.lock import home_lock as lock_module
from hapi.runner.lock.home_lock import HomeHeld, RunnerLock

# Forking 200 processes of Python's size costs seven times what their starts cost.
ROUNDS_OF_A_GENERATION = 25
DAY = 86400.0  # seconds
RESULTS_TIMEOUT = 600.0  # seconds; a loaded machine takes some
Round = dict[str, object]

KINDS = ("none", "stale", "empty", "garbage", "reused", "own")


class RealClock(Clock):
    """A reactor's clock without a reactor: waits by sleeping."""

    def seconds(self) -> float:
        return time.monotonic()

    def wait_for(self, deferred) -> object:
        """The result of `deferred`; raises its failure."""
        outcome: list[object] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            time.sleep(max(0.0, self.calls[0].getTime() - self.seconds()))
            self.advance(0)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


def take(home: Home, step: Callable[[str], object] = lambda _: None) -> RunnerLock:
    """Acquire the lock of `home`, waiting by sleeping. Raises HomeHeld, LockUnusable."""
    clock = RealClock()
    lock = RunnerLock(home, SystemProcesses(None), clock, step=step)
    clock.wait_for(lock.acquire())
    return lock


def dead_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def prepare(home: Home, kind: str, starters: list[int]) -> None:
    """Put in the lock's place what the round starts with."""
    home.npm_lock.unlink(missing_ok=True)
    content = {
        "none": None,
        "stale": str(dead_pid()),
        "empty": "",
        "garbage": "\0\xff no pid",
        "reused": str(bystander.pid),
        "own": str(random.choice(starters)),
    }[kind]
    if content is None:
        return
    home.npm_lock.write_text(content, "latin-1")
    if kind in ("empty", "garbage", "own"):  # the dead had a pid that one of us has now
        old = time.time() - DAY
        os.utime(home.npm_lock, (old, old))


def as_npm(home: Home) -> bool:
    """What the npm CLI does with the file; True when it has the lock."""
    for attempt in range(1, 6):
        while True:
            try:
                descriptor = os.open(home.npm_lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                os.write(descriptor, str(os.getpid()).encode())
                os.close(descriptor)
                return True
            except FileExistsError:
                try:
                    pid = int(home.npm_lock.read_text())
                    os.kill(pid, 0)
                except ProcessLookupError:
                    home.npm_lock.unlink(missing_ok=True)
                    continue
                except (OSError, ValueError):
                    pass
            break
        time.sleep(0.02 * attempt)  # a tenth of npm's
    return False


Pipe = tuple[int, int]


@frozen
class Generation:
    """Processes that start again in each of some rounds.

    One that wins a round holds the lock until the round is judged and ends: another process takes
    its place. The others are as fresh as new ones: nothing of a start that failed is kept.
    """

    home: Home
    ours: int
    npm: int
    barriers: list[Pipe]  # one for each round: its end lets all start at once
    releases: list[Pipe]  # one for each round: its end lets the winner go
    results: Pipe

    @classmethod
    def make(cls, home: Home, ours: int, npm: int, rounds: int) -> Generation:
        barriers, releases = ([os.pipe() for _ in range(rounds)] for _ in range(2))
        return cls(home, ours, npm, barriers, releases, os.pipe())

    def fork(self, number: int, first: int, seed: float) -> int:
        """Start starter `number`, which waits for the round `first`; its process id."""
        pid = os.fork()
        if pid == 0:
            for pipe in self.barriers[first:] + self.releases[first:]:
                os.close(pipe[1])
            os.close(self.results[0])
            self._start_in_each(number, first, random.Random(seed))
        return pid

    def _start_in_each(self, number: int, first: int, rng: random.Random) -> None:
        is_npm = number >= self.ours
        for barrier, release in zip(self.barriers[first:], self.releases[first:], strict=True):
            os.read(barrier[0], 1)  # end of file: all at once
            try:
                won = self._start(rng, is_npm)
            except Exception as error:
                text = f"error {os.getpid()} {number} {type(error).__name__} {error}\n"
                os.write(self.results[1], text.encode())
                os._exit(1)
            kind = "npm" if is_npm else "ours"
            os.write(self.results[1], f"{kind} {os.getpid()} {number} {int(won)}\n".encode())
            if won:
                os.read(release[0], 1)  # hold it until the round is judged
                break
        os._exit(0)

    def _start(self, rng: random.Random, is_npm: bool) -> bool:
        if is_npm:
            time.sleep(rng.random() * 0.003)  # chance decides who of the race is first
            return as_npm(self.home)
        pause = (
            # chance lets others come between two steps
            (lambda _: time.sleep(rng.random() * 0.002) if rng.random() < 0.3 else None)
            if rng.random() < 0.5
            else (lambda _: None)
        )
        try:
            take(self.home, pause)
        except HomeHeld:
            return False
        return True

    def judge(self, kind: str, starters: list[int], round_number: int, rng: random.Random) -> Round:
        """Run one round among `starters`, and replace those that end with it."""
        prepare(self.home, kind, starters)
        os.close(self.barriers[round_number][1])
        told = b""
        while told.count(b"\n") < len(starters):
            if not select.select([self.results[0]], [], [], RESULTS_TIMEOUT)[0]:
                raise TimeoutError(f"not all {len(starters)} starters said who won: {told!r}")
            told += os.read(self.results[0], 65536)
        lines = [line.split() for line in told.decode().splitlines()]
        os.close(self.releases[round_number][1])
        for line in lines:
            if line[0] == "error" or line[3] == "1":
                number = int(line[2])
                os.waitpid(starters[number], 0)
                starters[number] = self.fork(number, round_number + 1, rng.random())
        return {
            "ours": sum(1 for line in lines if line[0] == "ours" and line[3] == "1"),
            "npm": sum(1 for line in lines if line[0] == "npm" and line[3] == "1"),
            "errors": [" ".join(line) for line in lines if line[0] == "error"],
            "told": len(lines),
            "left": [
                name
                for name in os.listdir(self.home.path)
                if name.startswith("runner.state.json.lock.")
            ],
        }


def play(
    home: Home, kind: str, rounds: int, ours: int, npm: int, rng: random.Random
) -> Iterator[Round]:
    """Let a generation of starters play `rounds` rounds; who won each."""
    generation = Generation.make(home, ours, npm, rounds)
    starters = [generation.fork(number, 0, rng.random()) for number in range(ours + npm)]
    for number in range(rounds):
        yield generation.judge(kind, starters, number, rng)
    for pid in starters:
        os.waitpid(pid, 0)
    for pipe in generation.barriers + generation.releases:
        os.close(pipe[0])
    for end in generation.results:
        os.close(end)


if __name__ == "__main__":
    where, kind, rounds, ours, npm, seed = sys.argv[1:7]
    home = Home(Path(where))
    rng = random.Random(int(seed))
    lock_module.HELD_TIMEOUT = 0.1
    if int(npm) == 0:
        lock_module.SETTLE_TIME = 0.02  # nobody is there for whom one settles
    bystander = subprocess.Popen(["/bin/sleep", "3600"])
    try:
        for begin in range(0, int(rounds), ROUNDS_OF_A_GENERATION):
            several = min(ROUNDS_OF_A_GENERATION, int(rounds) - begin)
            for judged in play(home, kind, several, int(ours), int(npm), rng):
                print(json.dumps(judged), flush=True)
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()
