"""No sentence says "1 sessions": a number that varies is followed by `plural`, not by a noun."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hapi
from hapi.units import plural

ROOT = Path(hapi.__file__).parent
NOUNS = (
    "attempts|checks|days|events|files|hours|machines|messages|minutes|processes|prompts|records"
    "|requests|seconds|sessions|starts|times|tokens|turns"
)
# A number in braces, perhaps an adjective, and one of the nouns.
COUNTED = re.compile(r"\{([^{}]+)\} (?:[a-z]+ )?(?:" + NOUNS + r")\b")
CONSTANT = re.compile(r"\b[A-Z][A-Z_]{3,}\b")  # its value is known, and not 1
NOT_NUMBERS = {"supervisor"}
MORE_THAN_ONE = {
    "len(checks)",  # of doctor: more than ten
    "len(found)",  # the sessions that a prefix matches, where it matches several
    "live",  # a number of a number: "1 of 2"
    "quota.home_files",  # thousands
    "quota.session_files",  # hundreds
    "soft",  # the limit of open files
    "times",  # a message is dropped after several losses
}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path)[-40:])
def test_a_number_that_may_be_1_has_a_noun_that_fits(path):
    found = {match[1] for match in COUNTED.finditer(path.read_text())}
    numbers = {each for each in found if not CONSTANT.search(each)}
    assert numbers - NOT_NUMBERS - MORE_THAN_ONE == set()


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "session", "0 sessions"),
        (1, "session", "1 session"),
        (2, "process", "2 processes"),
        (1.2, "minute", "1 minute"),
        (3, "try", "3 tries"),
        (2, "day", "2 days"),
    ],
)
def test_nouns_follow_their_number(count, noun, text):
    assert plural(count, noun) == text
