"""What may be shown: one line, no terminal codes, no secrets."""

import pytest

from hapi.redaction import Secrets, escape_control


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u2028b\u202eevil", "a\\u2028b\\u202eevil"),
        ("surrogate \udcff", "surrogate \\udcff"),
        (7, "7"),
    ],
)
def test_text_from_outside_stays_on_its_line_and_steers_no_terminal__K03(given, shown):
    assert escape_control(given) == shown


@pytest.mark.parametrize(
    "text",
    [
        "token s3cret-base:work refused",
        "base alone: s3cret-base.",
        "http://hub/#token=whatever-it-is",
        "GET /api/events?token=abc.def&x=1",
        "Authorization: Bearer 0123456789",
        "jwt eyJhbGciOi.eyJ1aWQiOjF9.c2lnbmF0dXJl ends",
        'quoted "s3cret-base"',
    ],
)
def test_tokens_are_hidden_wherever_they_stand__K02(text):
    secrets = Secrets()
    secrets.add("s3cret-base:work", None, "")
    hidden = secrets.redact(text)
    assert "[hidden]" in hidden
    for secret in ("s3cret", "whatever-it-is", "abc.def", "0123456789", "c2lnbmF0dXJl"):
        assert secret not in hidden


def test_a_token_is_hidden_in_its_quoted_forms_too__K02():
    secrets = Secrets()
    secrets.add('we"ird/tok&en')
    assert "ird" not in secrets.redact(r"json we\"ird/tok&en and url we%22ird%2Ftok%26en")


def test_what_is_no_secret_stays_as_it_is():
    secrets = Secrets()
    secrets.add("abc")  # too short to hide: every word with it would go
    assert (
        secrets.redact("abc alphabet token=missing in path /a/b?x=1")
        == "abc alphabet token=missing in path /a/b?x=1"
    )


def test_secrets_do_not_show_themselves__K02():
    secrets = Secrets()
    secrets.add("s3cret-base")
    assert "s3cret" not in repr(secrets)
