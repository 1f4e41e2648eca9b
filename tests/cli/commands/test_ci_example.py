"""The script for CI of docs/scripts.md, with a program that only writes down how it is called."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.support.paths import ROOT

RECORDER = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1 $2" in
"runner status") exit "$RUNNER_STATUS";;
"runner start") exit "$RUNNER_START";;
"sessions new") echo s1;;
"sessions send") cat > /dev/null;;
esac
"""


@pytest.mark.parametrize(
    ("status", "start", "expected"),
    [
        (5, 0, ["runner status", "runner start", "sessions new", "runner stop"]),
        (0, 0, ["runner status", "sessions new"]),  # somebody else's
        (5, 1, ["runner status", "runner start", "runner stop"]),  # it may go on trying
    ],
)
def test_the_job_stops_only_a_runner_that_it_started(tmp_path, status, start, expected):
    [script] = re.findall(
        r"<!-- tried: ci -->\n```sh\n(.*?)```", (ROOT / "docs/scripts.md").read_text(), re.DOTALL
    )
    for name, text in (("review.sh", script), ("hapi", RECORDER), ("git", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [tmp_path / "review.sh"],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "RUNNER_STATUS": str(status),
            "RUNNER_START": str(start),
        },
        check=False,
    )
    assert done.returncode == start
    calls = [" ".join(line.split()[:2]) for line in (tmp_path / "calls").read_text().splitlines()]
    kept = ("sessions send", "sessions export", "sessions archive")
    assert [call for call in calls if call not in kept] == expected
    assert ("sessions archive" in calls) is (start == 0)
