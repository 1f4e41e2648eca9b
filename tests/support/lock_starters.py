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
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock

from hapi.home import Home
from hapi.process.system import SystemProcesses
from hapi.runner.lock import home_lock as lock_module
from hapi.runner.lock.home_lock import HomeHeld, RunnerLock

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
        old = time.time() - 100
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


def one_starter(
    home: Home, barrier: int, results: int, release: int, rng: random.Random, npm: bool
) -> None:
    os.read(barrier, 1)  # end of file: all at once
    pause = (
        (lambda _: time.sleep(rng.random() * 0.002) if rng.random() < 0.3 else None)
        if rng.random() < 0.5
        else (lambda _: None)
    )
    try:
        if npm:
            time.sleep(rng.random() * 0.003)
            won = as_npm(home)
        else:
            take(home, pause)
            won = True
    except HomeHeld:
        won = False
    except Exception as error:
        os.write(results, f"error {type(error).__name__} {error}\n".encode())
        os._exit(1)
    os.write(results, f"{'npm' if npm else 'ours'} {os.getpid()} {int(won)}\n".encode())
    if won:
        os.read(release, 1)  # hold it until the round is judged
    os._exit(0)


def one_round(home: Home, kind: str, ours: int, npm: int, rng: random.Random) -> dict[str, object]:
    barrier, results, release = os.pipe(), os.pipe(), os.pipe()
    starters = []
    for number in range(ours + npm):
        seed = rng.random()
        pid = os.fork()
        if pid == 0:
            for each in (barrier[1], results[0], release[1]):
                os.close(each)
            one_starter(
                home, barrier[0], results[1], release[0], random.Random(seed), number >= ours
            )
        starters.append(pid)
    for each in (barrier[0], results[1], release[0]):
        os.close(each)
    prepare(home, kind, starters)
    os.close(barrier[1])
    told = b""
    while told.count(b"\n") < ours + npm:
        part = os.read(results[0], 65536)
        if not part:
            break
        told += part
    lines = [line.split() for line in told.decode().splitlines()]
    os.close(release[1])
    os.close(results[0])
    for pid in starters:
        os.waitpid(pid, 0)
    return {
        "ours": sum(1 for line in lines if line[0] == "ours" and line[2] == "1"),
        "npm": sum(1 for line in lines if line[0] == "npm" and line[2] == "1"),
        "errors": [" ".join(line) for line in lines if line[0] == "error"],
        "told": len(lines),
        "left": [
            name for name in os.listdir(home.path) if name.startswith("runner.state.json.lock.")
        ],
    }


if __name__ == "__main__":
    where, kind, rounds, ours, npm, seed = sys.argv[1:7]
    home = Home(Path(where))
    rng = random.Random(int(seed))
    lock_module.HELD_TIMEOUT = 0.1
    if int(npm) == 0:
        lock_module.SETTLE_TIME = 0.02  # nobody is there for whom one settles
    bystander = subprocess.Popen(["/bin/sleep", "3600"])
    try:
        for _ in range(int(rounds)):
            print(json.dumps(one_round(home, kind, int(ours), int(npm), rng)), flush=True)
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()
