"""Which branches of the parts that must not fail the tests take: `make coverage` (the figure G17).

Runs their tests under coverage.py and prints a line for each module; ends with 1 below the floor of
a group. What runs as a program of its own (the holder, a replacement) is tested as one, and is not
counted here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FLOOR = 95.0  # per cent of the branches and lines of each group
GROUPS = {
    "lock": [
        "runner/lock/home_lock.py",
        "runner/lock/flock.py",
        "runner/lock/npm_lock.py",
        "runner/lock/stale.py",
        "runner/lock/owner.py",
        "runner/lock/files.py",
    ],
    "hand-off": [
        *(
            "runner/handoff/outgoing.py",
            "runner/handoff/coordinator.py",
            "runner/handoff/replacement.py",
            "runner/handoff/descriptors.py",
        ),
        *(
            "runner/handoff/incoming.py",
            "runner/handoff/verification.py",
            "runner/handoff/progress.py",
            "runner/handoff/upgrade.py",
            "runner/supervision/supervisor.py",
            "runner/handoff/channel.py",
        ),
    ],
    "identity and tree": [
        *(
            "process/identity.py",
            "process/tree.py",
            "process/termination.py",
            "process/exit_watch.py",
        ),
        *("process/exit_status.py", "process/system.py", "process/launch.py"),
    ],
    "control guard": [
        "runner/control/guard.py",
        "runner/control/peer_credentials.py",
        "runner/control/site.py",
        "runner/control/api.py",
        "runner/endpoints.py",
        "net/server/site.py",
    ],
    "codec": [
        "protocol/engineio.py",
        "protocol/socketio.py",
        "protocol/channel.py",
        "protocol/rpc.py",
        "protocol/control.py",
    ],
}
TESTS = ["tests/runner", "tests/process", "tests/protocol", "tests/net", "tests/test_attempts.py"]


def measure(place: Path, arguments: list[str]) -> tuple[dict[str, dict[str, Any]], bool]:
    """Run the tests; per file what coverage.py says of it, and whether they passed."""
    settings = place / "coverage.ini"
    settings.write_text(
        f"[run]\nbranch = True\nsource = hapi\ndata_file = {place / 'data'}\nparallel = True\n"
    )
    run = [sys.executable, "-m", "coverage"]
    with_settings = f"--rcfile={settings}"
    tests = subprocess.run(
        [
            *run,
            "run",
            with_settings,
            "-m",
            "pytest",
            "-q",
            f"--basetemp={place / 'tmp'}",
            *(arguments or TESTS),
        ],
        cwd=ROOT,
        check=False,
    )
    passed = tests.returncode == 0
    subprocess.run([*run, "combine", "-q", with_settings], cwd=ROOT, check=True)
    subprocess.run(
        [*run, "json", "-q", with_settings, "-o", str(place / "found.json")], cwd=ROOT, check=True
    )
    return dict(json.loads((place / "found.json").read_text())["files"]), passed


def covered(told: list[dict[str, Any]]) -> float:
    """Lines and branches taken, in per cent of those there are."""
    taken = sum(each["covered_lines"] + each["covered_branches"] for each in told)
    return (
        100.0 * taken / max(sum(each["num_statements"] + each["num_branches"] for each in told), 1)
    )


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        found, passed = measure(Path(place), arguments)
    short = []
    for group, names in GROUPS.items():
        told = {name: found[f"hapi/{name}"] for name in names}
        share = covered([each["summary"] for each in told.values()])
        print(f"\n{group}: {share:.1f} %")
        for name, each in told.items():
            lines = ", ".join(map(str, each["missing_lines"]))
            jumps = ", ".join(
                f"{at}→{to if to > 0 else 'end'}"
                for at, to in each["missing_branches"]
                if to not in each["missing_lines"]
            )
            missing = "; ".join(
                part for part in (lines and f"lines {lines}", jumps and f"branches {jumps}") if part
            )
            print(f"  {covered([each['summary']]):5.1f} %  {name}  {missing}")
        if share < FLOOR:
            short.append(group)
    if short:
        print(f"\nbelow {FLOOR:.0f} %: {', '.join(short)}")
    if not passed:
        print("\nthe tests failed, so the figures say little", file=sys.stderr)
    return 1 if short or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
