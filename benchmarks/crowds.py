"""Many sessions at little cost, for either make: real processes that announce themselves as those
from a terminal do."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.frame import HERE, Bench, Control, Program, Running, until


def crowd(bench: Bench, running: Running, count: int, seconds: float = 300.0) -> Program:
    """`count` sessions that `running` tracks. End the program and they end, too."""
    argv = [sys.executable, "-S", "-E", str(HERE / "puppet.py"), "crowd", str(count)]
    program = bench.cast.start(
        f"crowd-{running.program.pid}", argv, {"HAPI_HOME": str(running.home)}, Path("/")
    )
    program.ready(lambda: "there" in program.output, seconds)
    control = Control(running)
    until(lambda: len(control.children()) == count, what=f"{count} sessions in /list")
    control.close()
    return program
