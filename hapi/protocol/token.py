"""The hub's access token: a secret, and the namespace it opens."""

from __future__ import annotations

from attrs import field, frozen

DEFAULT_NAMESPACE = "default"


@frozen
class AccessToken:
    """`base` or `base:namespace`."""

    base: str = field(repr=False)
    namespace: str = DEFAULT_NAMESPACE

    @classmethod
    def parse(cls, text: str) -> AccessToken:
        """Split at the last colon. Raises ValueError, which never quotes the token.

        Both halves must exist, without white space at the colon (hub 0.30 takes no other token).
        """
        if not isinstance(text, str):
            raise ValueError("the access token must be a string")
        text = text.strip()
        if not text:
            raise ValueError("the access token is empty")
        base, colon, namespace = text.rpartition(":")
        if not colon:
            return cls(text)
        if not base or not namespace:
            raise ValueError("the access token has nothing on one side of its last colon")
        if base != base.strip() or namespace != namespace.strip():
            raise ValueError("the access token has white space next to its last colon")
        return cls(base, namespace)
