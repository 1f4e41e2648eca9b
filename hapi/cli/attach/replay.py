"""What a shell has put out so far, shown anew."""

from __future__ import annotations

import re

# What a program asks the terminal, which answers as if it were typed: after a replay nobody waits
# for the answer.
_QUESTIONS = re.compile(
    r"\x1b\[[>=]?0?c"  # device attributes
    r"|\x1b\[\??[56]n"  # status and position
    r"|\x1b\[\??[\d;]*\$p"  # a mode
    r"|\x1b\[>0?q"  # name and version
    r"|\x1b\[\?u"  # keyboard protocol
    r"|\x1b\[(?:1[1345689]|2[01])(?:;\d+)*t"  # window
    r"|\x1b\](?:4;\d+|1\d|52;[^;\x07\x1b]*);\?(?:\x07|\x1b\\)"  # colours, clipboard
    r"|\x1bP[+$]q[^\x1b\x07]*(?:\x07|\x1b\\)"  # capabilities and settings
    r"|\x1bZ|\x05"
)
CLEAR = "\x1b[0m\x1b[H\x1b[2J"


def without_questions(text: str) -> str:
    """A replay without what a program has asked the terminal at that time."""
    return _QUESTIONS.sub("", text)
