"""Starts `load.py` beside what is measured and reads what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.frame import HERE

PROGRAM = str(HERE / "load.py")


def load(port: int, callers: int, seconds: float) -> dict[str, float]:
    """Ask `/list` without a pause: `rate` a second, `p50`, `p99` and `longest` in seconds."""
    argv = [sys.executable, "-S", "-E", PROGRAM, str(port), str(callers), str(seconds), "0"]
    printed = subprocess.run(
        argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout
    return dict(json.loads(printed.splitlines()[-1]))


@contextmanager
def silences(port: int, pause: float = 0.002) -> Iterator[dict[str, Any]]:
    """One caller asks all the while; what it found is in the dictionary afterwards, `longest` among
    it."""
    argv = [sys.executable, "-S", "-E", PROGRAM, str(port), "1", "0", str(pause)]
    found: dict[str, Any] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        caller.stdout.readline()
        yield found
        found.update(json.loads(caller.communicate()[0].splitlines()[-1]))
