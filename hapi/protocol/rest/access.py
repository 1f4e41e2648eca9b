"""Replies of the login and about tokens and the audit log."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from hapi.protocol.rest.outcome import Done


class User(TypedDict):
    id: int
    firstName: str


class Access(TypedDict):
    """What a token allows. `name` None: it is the access token of the hub."""

    name: str | None
    namespace: str
    scopes: list[str]


class AccessReply(TypedDict):
    access: Access


class LoginReply(TypedDict):
    """The web token, which expires after some hours."""

    token: str
    user: User
    access: NotRequired[Access]


class AccessToken(TypedDict):
    """An access token of a device or machine, without its secret."""

    id: str
    name: str
    namespace: str
    scopes: list[str]
    machineId: str | None
    createdAt: int
    expiresAt: int | None
    lastUsedAt: int | None


class AccessTokenList(TypedDict):
    tokens: list[AccessToken]


class NewAccessToken(AccessToken):
    """`token`: the secret, which is shown this once."""

    token: str


class RevokedAccessToken(Done):
    """`name`: of the token, which no list has any more."""

    name: str


class AuditEntry(TypedDict):
    """`time`: ms. `outcome`: `done`, `refused` or `failed`. `actor`: the name of a device's token,
    None for the access token of the hub and for wrong tokens; the latter have no namespace.
    """

    time: int
    action: str
    outcome: str
    status: int
    namespace: NotRequired[str]
    actor: NotRequired[str | None]
    tokenId: NotRequired[str]
    address: NotRequired[str]
    subject: NotRequired[dict[str, str]]
    facts: NotRequired[dict[str, Any]]
    requestId: NotRequired[str]


class Audit(TypedDict):
    entries: list[AuditEntry]
