"""Changes of files become unified diffs, in a bounded time and of a bounded length."""

import random
import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.protocol.acp import diffs
from hapi.protocol.acp.diffs import MAX_LENGTH, MAX_LINES, FileDiff, diff_of
from hapi.protocol.acp.tool_content import FileChange


def diff(old, new, path="a.txt"):
    return diff_of(FileChange(path, old, new))


def applied(old_lines, text):
    """`old_lines` after the unified diff `text`; fails if it does not fit them."""
    rows = text.split("\n")[2:]
    result, at = [], 0
    for row in rows:
        if header := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", row):
            start, length = int(header[1]), int(header[2] or 1)
            start = start if length == 0 else start - 1
            result += old_lines[at:start]
            at = start
            assert len(result) == int(header[3]) - (0 if header[4] == "0" else 1)
        elif row.startswith("+"):
            result.append(row[1:])
        else:
            assert old_lines[at] == row[1:]
            at += 1
            if row.startswith(" "):
                result.append(row[1:])
    return result + old_lines[at:]


def test_a_changed_line_is_shown_with_the_lines_around_it():
    assert diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n") == FileDiff(
        "a.txt",
        "--- a.txt\n+++ a.txt\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8",
        added=1,
        removed=1,
    )


def test_a_new_file_comes_from_nowhere_and_a_line_end_that_changes_is_a_change():
    assert diff(None, "a\n").text == "--- /dev/null\n+++ a.txt\n@@ -0,0 +1 @@\n+a"
    assert diff("a\r\n", "a\n").text.endswith("\n-a\r\n+a")
    assert diff("same", "same") == FileDiff("a.txt", "", 0, 0)


lines = st.lists(st.sampled_from("abcdefg "), max_size=12)


@given(lines, lines)
def test_applying_the_diff_gives_the_new_text(old, new):
    made = diff("".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new))
    assert applied(old, made.text) == new if made.text else old == new


@given(st.integers(0, 10_000))
def test_applying_the_diff_of_a_long_text_gives_the_new_text(seed):
    chance = random.Random(seed)
    old = [chance.choice(["x", "y", f"line {n}"]) for n in range(600)]
    new = [line for line in old if chance.random() > 0.05]
    for _ in range(20):
        new.insert(chance.randrange(len(new)), chance.choice(["x", "new"]))
    made = diff("\n".join(old), "\n".join(new))
    assert applied(old, made.text) == new
    assert made.added + made.removed < 400  # not the whole text


def numbered(count, every=0, word="other"):
    return "\n".join(
        f"{word} {n}" if every and n % every == 0 else f"line {n}" for n in range(count)
    )


def pieces(seed):
    """Pieces that are just short enough for difflib, of the lines that take it the longest."""
    chance = random.Random(seed)
    return "\n".join(
        f"piece {n}\n" + "\n".join(chance.choice("ab") for _ in range(198)) for n in range(50)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (numbered(9800), numbered(9800, every=100)),
        (numbered(9800), numbered(9800, every=1)),
        ("a\nb\n" * 4900, "b\na\na\n" * 3300),
        (pieces(1), pieces(2)),
        ("x" * 4_000_000, "y" * 4_000_000),
        (numbered(2 * MAX_LINES), numbered(2 * MAX_LINES, every=2)),
    ],
    ids=["some lines", "all lines", "few different lines", "pieces", "one line", "too many lines"],
)
def test_the_time_and_the_length_of_a_diff_are_bounded(old, new):
    started = process_time()
    made = diff(old, new)
    assert process_time() - started < 0.8  # seconds; difflib takes 15 for the second of these
    assert len(made.text) < MAX_LENGTH + 200
    assert made.added > 0


def test_a_diff_that_is_cut_says_so_and_counts_all_lines():
    made = diff("", "word\n" * 50_000)
    assert made.text.splitlines()[-1] == "… 43337 more lines"
    assert (made.added, made.removed) == (50_000, 0)


def test_a_change_that_is_told_again_is_not_compared_again(monkeypatch):
    first = diff("old", "new", "again.txt")
    monkeypatch.setattr(diffs, "_compare", None)
    assert diff("old", "new", "again.txt") is first


def test_half_an_emoji_in_a_changed_text_does_no_harm():
    assert diff("a", "\ud83d").text.endswith("+\ud83d")
