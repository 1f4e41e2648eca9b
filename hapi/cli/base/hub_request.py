"""One question to the hub's REST API, without a reactor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from hapi.cli.base.errors import REFUSED, UNREACHABLE, CommandError
from hapi.redaction import escape_control
from hapi.settings import HubAccess

# Codes of OpenSSL's <openssl/x509_vfy.h>.
X509_HAS_EXPIRED = 10
X509_UNTRUSTED = frozenset({2, 18, 19, 20, 21})  # no issuer, or self-signed
X509_NAME_MISMATCHES = frozenset({62, 64})  # of the host name, of the IP address


class NotServing(CommandError):
    """The hub answers that it does not serve at present, with `reason`."""

    def __init__(self, access: HubAccess, reason: str) -> None:
        super().__init__(f"the hub at {access.url} answered with HTTP 503: {reason}", UNREACHABLE)
        self.reason = reason


def get_json(access: HubAccess, path: str, seconds: float, logs_in: bool = True) -> Any:
    """The hub's reply to GET `path`, as the person whose access token is in `access`.

    Logs in first, unless the hub is a standby, which takes the access token itself. Each of the two
    requests may take `seconds`. Raises CommandError.
    """
    try:
        token = access.token
        if logs_in:
            token = _ask(access, "/api/auth", {"accessToken": access.token}, seconds)["token"]
        return _ask(access, path, None, seconds, Authorization=f"Bearer {token}")
    except HTTPError as error:
        if error.code == 403:
            raise CommandError(f"the hub at {access.url}: {_reason(error)}", REFUSED) from error
        if error.code == 401:
            raise CommandError(
                f"the hub at {access.url} refused the access token; run `hapi auth login`", REFUSED
            ) from error
        if error.code == 503:
            raise NotServing(access, _reason(error)) from error
        raise CommandError(
            f"the hub at {access.url} answered with HTTP {error.code}: {_reason(error)}",
            UNREACHABLE,
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, SSLCertVerificationError):
            raise CommandError(
                f"the hub at {access.url} cannot be used: "
                f"{escape_control(_certificate_problem(reason, access.url))}",
                UNREACHABLE,
            ) from error
        raise CommandError(
            f"the hub at {access.url} does not answer: {escape_control(reason)}", UNREACHABLE
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"what answers at {access.url} is not a hub", UNREACHABLE) from error


def active_hub_of(reported: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The hub that serves instead of the one whose status `reported` is; None if that is no standby
    or if no other hub serves.
    """
    if reported.get("role") != "standby":
        return None
    hubs = reported.get("hubs") or ()
    return next((hub for hub in hubs if hub["role"] == "active" and hub["isUp"]), None)


def _ask(
    access: HubAccess, path: str, body: dict[str, Any] | None, seconds: float, **headers: str
) -> Any:
    content = None if body is None else json.dumps(body).encode()
    everything = {**access.headers, "Content-Type": "application/json", **headers}
    with urlopen(Request(access.url + path, content, everything), timeout=seconds) as reply:
        return json.load(reply)


def _certificate_problem(error: SSLCertVerificationError, url: str) -> str:
    """What is wrong with the certificate of the hub, as one clause."""
    from hapi.net.common.errors import CERTIFICATE_EXPIRED, CERTIFICATE_UNTRUSTED

    if error.verify_code == X509_HAS_EXPIRED:
        return CERTIFICATE_EXPIRED
    if error.verify_code in X509_UNTRUSTED:
        return CERTIFICATE_UNTRUSTED
    if error.verify_code in X509_NAME_MISMATCHES:
        return f"its certificate is not valid for {urlsplit(url).hostname}"
    return f"its certificate is not accepted here ({error.verify_message})"


def _reason(error: HTTPError) -> str:
    try:
        return escape_control(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return escape_control(error.reason)
