"""The access token and the namespace it opens."""

import pytest

from hapi.protocol.token import MAX_NAMESPACE_LENGTH, AccessToken, InvalidNamespace


@pytest.mark.parametrize(
    ("text", "base", "namespace"),
    [
        ("secret", "secret", "default"),
        ("  secret\n", "secret", "default"),
        ("secret:alice", "secret", "alice"),
        ("a:b:c", "a:b", "c"),
        ("secret:two words", "secret", "two words"),
        ("secret:zoë", "secret", "zoë"),
        ("secret:" + "x" * MAX_NAMESPACE_LENGTH, "secret", "x" * MAX_NAMESPACE_LENGTH),
    ],
)
def test_a_token_splits_at_its_last_colon(text, base, namespace):
    assert AccessToken.parse(text) == AccessToken(base, namespace)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        ":",
        "secret:",
        ":alice",
        "secret: alice",
        "secret :alice",
        "secret:\talice",
        " secret:alice",
        None,
        7,
    ],
)
def test_a_token_with_an_empty_half_or_inner_space_is_invalid(text):
    with pytest.raises(ValueError, match="access token"):
        AccessToken.parse(text)


@pytest.mark.parametrize(
    ("namespace", "reason"),
    [
        ("a\n", "white space"),
        (" a", "white space"),
        ("a ", "white space"),
        ("a\u00a0", "white space"),
        ("a\u2028", "white space"),
        ("a\x00b", "cannot be printed"),
        ("a\tb", "cannot be printed"),
        ("a\u00a0b", "cannot be printed"),
        ("\u200ba", "cannot be printed"),
        ("a\u202eb", "cannot be printed"),
        ("\ufeffa", "cannot be printed"),
        ("\ud800", "cannot be printed"),
        ("zoe\u0308", "NFC"),
        ("x" * (MAX_NAMESPACE_LENGTH + 1), "longer than 128 characters"),
        ("x" * 100_000, "longer than 128 characters"),
    ],
)
def test_a_namespace_that_could_be_taken_for_another_is_refused_in_words__U01(namespace, reason):
    with pytest.raises(InvalidNamespace, match=f"the namespace of the access token .*{reason}"):
        AccessToken.parse(f"secret:{namespace}")


def test_neither_repr_nor_error_shows_the_secret__K02():
    assert "canary" not in repr(AccessToken.parse("canary:alice"))
    with pytest.raises(ValueError) as refused:
        AccessToken.parse("canary: alice")
    assert "canary" not in str(refused.value)
