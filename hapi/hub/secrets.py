"""The secrets of a hub: its access token, and what signs the tokens of web pages."""

from __future__ import annotations

import base64
import binascii
import json
import os

from attrs import field, frozen

from hapi.home import Home, read_capped, write_atomically
from hapi.hub.options import HubOptions
from hapi.hub.store.shared import ISharedStore
from hapi.settings import ConfigurationError, read_settings, update_settings

TOKEN_BYTES = 32
# Names in a database that several hubs share.
TOKEN_SECRET, SIGNING_SECRET, VAPID_SECRET = "access-token", "web-token-key", "vapid-key"
DERIVED = "derived"  # the value of VAPID_SECRET if that key is made from the other one


@frozen
class HubSecrets:
    """`vapid`: None: the key for push services is that of the home; see VapidKey."""

    token: str = field(repr=False)  # the access token of the hub
    signing: bytes = field(repr=False)  # signs web tokens
    vapid: bytes | None = field(default=None, repr=False)

    @classmethod
    def of_home(cls, options: HubOptions) -> HubSecrets:
        """Those of the home, made if there are none. Raises ConfigurationError."""
        return cls(base_token(options), signing_secret(options.home))

    @classmethod
    async def of_database(cls, options: HubOptions, store: ISharedStore) -> HubSecrets:
        """Those that all hubs of a database share. The first hub brings those of its home, and a
        hub without an access token gets one. Raises ConfigurationError, StoreProblem.
        """
        home = options.home
        own = given_token(options)
        token = await store.secret(TOKEN_SECRET, own or _new_token())
        if own is None:
            update_settings(home, lambda now: {**now, "cliApiToken": token})
        elif own != token:
            raise ConfigurationError(
                "the hubs of this database have another access token than this one (CLI_API_TOKEN, "
                "cliApiToken in settings.json): all of them need the same. Give this one the token "
                "of the others; if this one's is to count, stop all hubs and run DELETE FROM "
                "secrets WHERE name = 'access-token' in the database"
            )
        made = signing_secret(home) if home.jwt_secret.exists() else os.urandom(TOKEN_BYTES)
        signing = base64.b64decode(
            await store.secret(SIGNING_SECRET, base64.b64encode(made).decode())
        )
        own_key = read_capped(home.vapid_key) if home.vapid_key.exists() else None
        vapid = await store.secret(VAPID_SECRET, DERIVED if own_key is None else own_key.decode())
        return cls(token, signing, signing if vapid == DERIVED else vapid.encode())


def base_token(options: HubOptions) -> str:
    """The access token of this hub; at the first start a token of 256 random bits is generated and
    saved. Raises ConfigurationError.
    """
    token = given_token(options)
    if token is not None:
        return token
    made = _new_token()
    settings = update_settings(
        options.home, lambda now: {**now, "cliApiToken": now.get("cliApiToken") or made}
    )
    return _checked(settings["cliApiToken"])


def given_token(options: HubOptions) -> str | None:
    """The access token of the options or of settings.json, None if there is none. Raises
    ConfigurationError.
    """
    token = options.token or read_settings(options.home).get("cliApiToken")
    return _checked(token) if token else None


def _new_token() -> str:
    return base64.urlsafe_b64encode(os.urandom(TOKEN_BYTES)).rstrip(b"=").decode()


def _checked(token: object) -> str:
    if not isinstance(token, str) or not token.strip():
        raise ConfigurationError(
            "the access token (CLI_API_TOKEN, cliApiToken in settings.json) must be a string"
        )
    token = token.strip()
    if ":" in token:
        raise ConfigurationError(
            "the access token of a hub must not contain a colon: "
            "the part after a colon is a namespace"
        )
    return token


def signing_secret(home: Home) -> bytes:
    """The 32 bytes that sign the tokens of web pages, kept in `jwt-secret.json`. Raises
    ConfigurationError.
    """
    path = home.jwt_secret
    try:
        content = read_capped(path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror or 'not a regular file'}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if content is None:
        made = os.urandom(TOKEN_BYTES)
        home.prepare()
        write_atomically(
            path, json.dumps({"secretBase64": base64.b64encode(made).decode()}).encode()
        )
        return made
    try:
        found = base64.b64decode(json.loads(content)["secretBase64"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ConfigurationError(
            f"{path} does not contain a secret: remove the file, and all users have to log in again"
        ) from error
    if len(found) < TOKEN_BYTES:
        raise ConfigurationError(
            f"{path} holds a secret of {len(found)} bytes, {TOKEN_BYTES} are needed: remove it"
        )
    return found
