"""A terminal that is not UTF-8: everything is kept, and shown as far as it can be shown."""

import io

import pytest

from hapi.session.terminal.console import MAX_TERMINAL_LINE_SIZE, Terminal
from hapi.session.terminal.text import representable, typed_text


def at_terminal(staged, encoding, interactive=True):
    """A session at a terminal of `encoding`, and what reads the bytes that were written to it."""
    stage = staged()
    written, errors = io.BytesIO(), io.BytesIO()
    terminal = Terminal(
        stage.clock,
        io.TextIOWrapper(written, encoding),
        io.TextIOWrapper(errors, encoding),
        interactive,
    )
    terminal.attach(stage.session)
    stage.run()
    terminal.ready("http://hub")
    stage.terminal = terminal
    return stage, written.getvalue, errors.getvalue


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "€ привет 😀 é".encode()),
        ("ascii", rb"\u20ac \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600 \xe9"),
        ("latin-1", rb"\u20ac \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600 " + b"\xe9"),
    ],
)
def test_what_an_encoding_lacks_is_shown_as_an_escape(staged, encoding, shown):
    stage, out, _ = at_terminal(staged, encoding)
    stage.terminal.typed("go")
    stage.agent.say("€ привет 😀 é")
    assert shown in out()


def test_the_encoding_is_told_in_words_once(staged):
    _, out, _ = at_terminal(staged, "ascii")
    assert out().count(b"The output's encoding is ascii") == 1
    _, out, _ = at_terminal(staged, "utf-8")
    assert b"encoding" not in out()


def test_only_the_answer_goes_to_a_pipe_that_is_not_utf_8(staged):
    stage, out, errors = at_terminal(staged, "ascii", interactive=False)
    stage.terminal.typed("go")
    stage.agent.say("€")
    stage.agent.finish()
    assert out().strip() == rb"\u20ac"
    assert b"The output's encoding is ascii" in errors()


def test_half_an_emoji_is_shown():
    assert representable("\ud83d", "utf-8") == r"\ud83d"
    assert representable("\ud83d", None) == "\ud83d"


def test_what_is_typed_is_utf_8_or_in_the_encoding_of_the_locale(monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "latin-1")
    assert typed_text("€ привет 😀".encode()) == "€ привет 😀"
    assert typed_text(b"caf\xe9") == "café"
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "utf-8")
    assert typed_text(b"caf\xe9") == "caf\ufffd"


def test_a_line_that_the_terminal_has_cut_is_refused_in_words(staged):
    stage, out, _ = at_terminal(staged, "utf-8")
    stage.terminal.typed_line(b"x" * MAX_TERMINAL_LINE_SIZE)
    assert stage.agent.prompts == []
    assert b"this prompt was not sent" in out()
    stage.terminal.typed_line(b"x" * (MAX_TERMINAL_LINE_SIZE - 1))
    assert [len(prompt) for prompt in stage.agent.prompts] == [MAX_TERMINAL_LINE_SIZE - 1]
