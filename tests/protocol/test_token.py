"""The access token and the namespace it opens."""

import pytest

from hapi.protocol.token import AccessToken


@pytest.mark.parametrize(
    ("text", "base", "namespace"),
    [
        ("secret", "secret", "default"),
        ("  secret\n", "secret", "default"),
        ("secret:alice", "secret", "alice"),
        ("a:b:c", "a:b", "c"),
        (" secret:alice ", "secret", "alice"),
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
        None,
        7,
    ],
)
def test_a_token_with_an_empty_half_or_inner_space_is_invalid(text):
    with pytest.raises(ValueError, match="access token"):
        AccessToken.parse(text)


def test_neither_repr_nor_error_shows_the_secret__K02():
    assert "canary" not in repr(AccessToken.parse("canary:alice"))
    with pytest.raises(ValueError) as refused:
        AccessToken.parse("canary: alice")
    assert "canary" not in str(refused.value)
