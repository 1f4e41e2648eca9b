"""The key that leaves a shell, a replay of it, and the choice of a shell."""

from __future__ import annotations

import pytest

from hapi.cli.attach.choice import Listed, find_named, obvious, short_names
from hapi.cli.attach.detach_key import DetachKey, key_code
from hapi.cli.attach.replay import without_questions
from hapi.cli.base.errors import CommandError


@pytest.mark.parametrize(
    ("name", "code"),
    [("ctrl-]", 29), ("ctrl-a", 1), ("Ctrl-Q", 17), ("ctrl-\\", 28), ("ctrl-1", None), ("]", None)],
)
def test_a_key_is_named_by_its_letter(name, code):
    assert key_code(name) == code


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"ls\r", (b"ls\r", False)),
        (b"ls\x1dmore", (b"ls", True)),
        (b"\x1b[93;5u", (b"", True)),  # kitty's protocol
        (b"a\x1b[93;5:1u", (b"a", True)),
        (b"\x1b[27;5;93~", (b"", True)),  # xterm's
        (b"\x1b[93;5:3u", (b"\x1b[93;5:3u", False)),  # it was let go
        (b"\x1b[93u\x1b[A", (b"\x1b[93u\x1b[A", False)),
    ],
)
def test_the_key_is_found_however_the_terminal_sends_it(data, found):
    assert DetachKey(29).split(data) == found


@pytest.mark.parametrize(
    "question",
    [
        "\x1b[c", "\x1b[0c", "\x1b[>c", "\x1b[>0c", "\x1b[=c", "\x1b[5n", "\x1b[6n", "\x1b[?6n",
        "\x1b[?2026$p", "\x1b[>q", "\x1b[>0q", "\x1b[?u", "\x1b[14t", "\x1b[18t", "\x1b[21t",
        "\x1b]10;?\x07", "\x1b]11;?\x1b\\", "\x1b]4;1;?\x07", "\x1b]52;c;?\x07",
        "\x1bP+q544e\x1b\\", "\x1bP$qm\x1b\\", "\x1bZ", "\x05",
    ],
)  # fmt: skip
def test_a_replay_asks_the_terminal_nothing(question):
    assert without_questions(f"a{question}b") == "ab"


def test_a_replay_keeps_everything_else():
    text = (
        "\x1b[1;31mred\x1b[0m\x1b]0;title\x07\x1b[2J\x1b[8;1;1t\x1b]8;;http://a/\x07x\x1b]8;;\x07"
    )
    assert without_questions(text) == text


def test_a_shell_is_listed_with_an_end_of_its_id_that_names_it_alone():
    ids = ["term-s-aaaa1111", "term-s-xbbbb2222", "term-s-ybbbb2222", "short"]
    shown = short_names(ids)
    assert list(shown.values()) == ["aaaa1111", "xbbbb2222", "ybbbb2222", "short"]
    listed = [Listed(each, False) for each in ids]
    assert [find_named(listed, shown[each]) for each in ids] == ids


A, B = Listed("term-s-aaaa1111", False), Listed("term-s-bbbb1111", True)


@pytest.mark.parametrize(
    ("listed", "expected"), [([], True), ([A], True), ([B], False), ([A, B], False)]
)
def test_nobody_is_asked_where_there_is_nothing_to_choose(listed, expected):
    assert obvious(listed) is expected


def test_a_shell_is_named_by_the_end_of_its_id():
    assert find_named([A, B], "aaaa1111") == A.id
    assert find_named([A, B], B.id) == B.id
    assert find_named([], "any") == "any"
    with pytest.raises(CommandError, match="2 shells"):
        find_named([A, B], "1111")
    with pytest.raises(CommandError, match=r"no shell \\x1b\[2J"):
        find_named([A, B], "\x1b[2J")
