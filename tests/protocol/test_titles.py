"""Which titles say what a session is about."""

import pytest

from hapi.protocol.acp.titles import is_telling, shortened, title_of_prompt

UPLOAD = "@/tmp/hapi/uploads/s1/shot.png"


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Mend  the\nlogin", "Mend the login"),
        (f"{UPLOAD} look at this", "look at this"),
        ('@"/tmp/a b.png" look', "look"),
        ("(Attached picture: /tmp/a b.png) look", "look"),
        ("ask @anna about a/b", "ask @anna about a/b"),
        ("x" * 100, "x" * 79 + "…"),
        ("/review the last commit", "/review the last commit"),
        ("/clear", None),
        (UPLOAD, None),
        (" \n", None),
    ],
)
def test_the_first_prompt_gives_a_title_where_it_says_something(prompt, title):
    assert title_of_prompt(prompt) == title


@pytest.mark.parametrize(
    "title",
    [
        "Repair of the login form",
        "Error handling in the parser",
        "Failed logins: why",
        "New login page",
        "src/main.py refactoring",
        "Fix it",
    ],
)
def test_a_title_of_the_agents_own_is_taken(title):
    assert is_telling(title, ["please mend the login", "Fix"])


@pytest.mark.parametrize(
    "title",
    [
        "",
        "fail: 400",
        "API Error: 529 overloaded",
        "Error (invalid key)",
        "HTTP 502 from the provider",
        "/tmp/hapi/uploads/shot.png",
        f"{UPLOAD} Please mend the login…",
        "please mend the login",
        "Please mend the lo…",
        "please mend the login and the logout of the whole site",
        "New session - 2026-11-26T10:00:00.000Z",
        "Untitled",
    ],
)
def test_an_error_a_path_a_placeholder_or_the_prompt_again_is_not(title):
    assert not is_telling(title, ["other", f"{UPLOAD} please mend the login"])


def test_a_title_has_no_marks_of_code():
    assert title_of_prompt("explain `src/app.py:3`") == "explain src/app.py:3"
    prompt = "Formula test\n```python\ndef area(r):\n    return r\n```"
    assert title_of_prompt(prompt) == "Formula test def area(r): return r"
    assert title_of_prompt("```") is None
    assert not is_telling("explain src/app.py:3", ["explain `src/app.py:3`"])
    assert shortened("Use `git push`") == "Use git push"
