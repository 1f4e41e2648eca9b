"""What other users see of a command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hapi.process.arguments import replace_in_command_line

PROGRAM = """
import sys
from hapi.process.arguments import replace_in_command_line
done = replace_in_command_line(sys.argv[1], "x" * len(sys.argv[1]))
print(done, sys.argv[1:], open("/proc/self/cmdline").read().split("\\0")[-4:-1])
"""


def test_a_part_of_the_command_line_is_replaced_in_the_list_of_processes():
    words = [sys.executable, "-c", PROGRAM, "hunter2", "--database=hunter2", "else"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert shown == (
        "True ['hunter2', '--database=hunter2', 'else'] ['xxxxxxx', '--database=xxxxxxx', 'else']"
    )


def test_without_proc_nothing_happens(monkeypatch):
    monkeypatch.setattr("hapi.process.arguments.STAT", "/proc/nothing")
    assert not replace_in_command_line("a", "b")


def test_what_is_longer_would_overwrite_the_next_word():
    with pytest.raises(ValueError, match="the same length"):
        replace_in_command_line("a", "bb")
