"""Access tokens of a hub: a secret, the namespace it opens, and what it allows."""

from __future__ import annotations

import unicodedata
from enum import StrEnum

from attrs import field, frozen

DEFAULT_NAMESPACE = "default"
MAX_NAMESPACE_LENGTH = 128  # characters


# How access tokens of devices and machines begin, so that scanners for secrets can find them.
DEVICE_TOKEN_PREFIX = "hapi_"


class Scope(StrEnum):
    """What an access token allows. The hub's own access token allows everything."""

    READ = "read"  # see sessions, messages, files and machines
    CHAT = "chat"  # send prompts and files, interrupt turns, choose models, name sessions
    APPROVE = "approve"  # answer permission requests, choose permission modes
    SPAWN = "spawn"  # start, resume and archive sessions, browse directories of machines
    MACHINE = "machine"  # for programs: a runner and its sessions
    TERMINAL = "terminal"  # open a shell in a session's directory: everything its user may do
    ADMIN = "admin"  # make and revoke tokens, delete sessions, settings, audit

    @property
    def includes(self) -> frozenset[Scope]:
        """The scopes that a token with this one has. People need to see what they act on."""
        return frozenset({self}) if self is Scope.MACHINE else frozenset({self, Scope.READ})


ALL_SCOPES = frozenset(Scope)


class InvalidNamespace(ValueError):
    """The namespace of an access token is not in its one normal form; the text says why."""


def check_namespace(text: str) -> str:
    """Return `text` if it is a namespace in its one normal form. Raises InvalidNamespace.

    Two namespaces are the same only if their texts are equal. Forms that a person could take for
    one another are therefore refused: white space around the name, characters that cannot be seen,
    and all Unicode normal forms but NFC. (npm's hub takes any text, and trims it.)
    """
    name = "the namespace of the access token"
    if not text:
        raise InvalidNamespace(f"{name} is empty")
    if len(text) > MAX_NAMESPACE_LENGTH:
        raise InvalidNamespace(f"{name} is longer than {MAX_NAMESPACE_LENGTH} characters")
    if text != text.strip():
        raise InvalidNamespace(f"{name} has white space around it")
    # Control characters, spaces other than U+0020, lone surrogates; and U+FFFD, which these become
    # where JSON is read.
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise InvalidNamespace(f"{name} contains characters that cannot be printed")
    if ":" in text:
        raise InvalidNamespace(f"{name} contains a colon")
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidNamespace(f"{name} is not in the Unicode normal form NFC")
    return text


@frozen
class AccessToken:
    """`base` or `base:namespace`."""

    base: str = field(repr=False)
    namespace: str = DEFAULT_NAMESPACE

    @classmethod
    def parse(cls, text: str) -> AccessToken:
        """Split at the last colon. Raises ValueError, which never quotes the token, and
        InvalidNamespace.

        White space around a token without a namespace is ignored. Both halves of a token with a
        colon must exist, and neither may have white space around it (hub 0.30 ignores it there).
        """
        if not isinstance(text, str):
            raise ValueError("the access token must be a string")
        base, colon, namespace = text.rpartition(":")
        if not colon:
            if not (base := text.strip()):
                raise ValueError("the access token is empty")
            return cls(base)
        if not base.strip() or not namespace.strip():
            raise ValueError("the access token has nothing on one side of its last colon")
        if base != base.strip():
            raise ValueError("the access token has white space around the part before its colon")
        return cls(base, check_namespace(namespace))
