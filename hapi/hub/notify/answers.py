"""Answer tokens: each lets a notification answer one permission request, and nothing else.

A token names the device, the session and the request, with a digest of what is asked, so that it
cannot answer a later request of the same id. It is worth nothing when the request is answered or
withdrawn, when the device's own access ends, or after a day.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any

import msgspec
from attrs import define, field

from hapi.protocol.json import to_json

LIFETIME = 24 * 3600 * 1000  # ms
MAX_LENGTH = 4096  # characters
MAX_REQUEST_ID_LENGTH = 512  # characters; a notification of a longer one has no buttons
DIGEST_LENGTH = 16  # bytes


class AnswerClaims(msgspec.Struct, frozen=True, array_like=True):
    recipient_id: str
    session_id: str
    request_id: str
    digest: str  # of the request
    expires_at: int  # ms since the epoch


def request_digest(request: Any) -> str:
    content = to_json(request).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=DIGEST_LENGTH).hexdigest()


@define(eq=False, repr=False)
class AnswerTokens:
    """`secret` signs the tokens of this hub; another one makes all of them worthless."""

    _secret: bytes = field(repr=False)

    def issue(
        self, recipient_id: str, session_id: str, request_id: str, request: Any, now: int
    ) -> str:
        claims = AnswerClaims(
            recipient_id, session_id, request_id, request_digest(request), now + LIFETIME
        )
        content = msgspec.json.encode(claims)
        return base64.urlsafe_b64encode(self._mac(content) + content).rstrip(b"=").decode()

    def read(self, token: str, now: int) -> AnswerClaims | None:
        """The claims of a token of this hub, None if it is invalid or has expired."""
        if len(token) > MAX_LENGTH or not token.isascii():
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
            mac, content = data[:32], data[32:]
            if not hmac.compare_digest(mac, self._mac(content)):
                return None
            claims = msgspec.json.decode(content, type=AnswerClaims)
        except (binascii.Error, ValueError, msgspec.DecodeError):
            return None
        return claims if now < claims.expires_at else None

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, b"HAPI answer tokens\0" + content, "sha256")
