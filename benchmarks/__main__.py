"""Compares our runner and session with npm's on one hub, in one run. Prints figures, ratios and
limits, writes JSON.

    python -m benchmarks [--hub npm|ours] [--rounds N] [--at-once N] [--only SUBJECT …]
        [--json FILE] [--markdown]
    python -m benchmarks hub …     the two hubs, `--help` tells more
    python -m benchmarks hubs …    one hub, several on PostgreSQL, and npm's
    python -m benchmarks soak …    what grows in the two hubs
    python -m benchmarks live …    from the agent's words to the page
    python -m benchmarks idle …    agents awake and at rest
    python -m benchmarks conversations …    long conversations in the pages of both

Each number is taken of both makes in turn, on the same hub and with the same scripted agent; times
are medians. A figure of ours that is beyond its limit is marked MISSED. The load of the machine is
printed, too: beside other work the ratios hold better than the numbers. Subjects: start, memory,
spawning, stopping, control, beats, waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from attrs import asdict

from benchmarks.frame import AGENT, HERE, MAKES, NPM, Bench, Cast, markdown, table

PROGRAMS = ("hub", "hubs", "soak", "live", "idle", "conversations")  # suites of their own
SUBJECTS = ("start", "memory", "spawning", "stopping", "control", "beats", "waiting")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hub", choices=MAKES, default=NPM, help="whose hub both makes run on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--at-once", type=int, default=20, metavar="N", help="spawns at the same time"
    )
    parser.add_argument("--only", choices=SUBJECTS, nargs="*", help="measure these only")
    parser.add_argument(
        "--json", type=Path, default=HERE.parent / ".cache/bench.json", help="where the numbers go"
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the table for the documentation"
    )
    arguments = parser.parse_args()

    path = Path(tempfile.mkdtemp(prefix="hapi-bench-"))
    cast = Cast(path, token="benchmark-token-of-no-value")
    bench = None
    try:
        for name in (
            AGENT,
            "claude",
        ):  # the latter is what npm's control API starts, whatever it is asked for
            agent = cast.directory("bin") / name
            agent.write_text(
                f'#!/bin/sh\nexec {sys.executable} -S -E {HERE / "scripted_agent.py"} "$@"\n'
            )
            agent.chmod(0o755)
        cast.environment["PATH"] = os.pathsep.join([str(agent.parent), cast.base["PATH"]])
        _, user = cast.hub(arguments.hub)
        bench = Bench(cast, user, arguments)
        for subject in arguments.only or SUBJECTS:
            print(f"{subject} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            import_module(f"benchmarks.{subject}").measure(bench)
    finally:
        cast.end()
        shutil.rmtree(path, ignore_errors=True)
        if bench is not None:
            tell(bench, arguments)


def tell(bench: Bench, arguments: argparse.Namespace) -> None:
    """What was measured, also when a subject failed."""
    figures = list(bench.figures.values())
    about = {
        "hub": arguments.hub,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({**about, "figures": [asdict(figure) for figure in figures]}, indent=2)
    )
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(markdown(figures) if arguments.markdown else table(figures))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    else:
        main()
