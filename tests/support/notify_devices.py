"""Devices with a push subscription: they make the keys of a browser, and decrypt what they get by
RFC 8291, written independently of the hub's encryption."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hapi.hub.notify.vapid import base64url


def _expand(key: bytes, info: bytes, length: int) -> bytes:
    """One block of HKDF-Expand (RFC 5869 2.3)."""
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


@define(eq=False)
class Device:
    """A browser at the push service `endpoint`."""

    endpoint: str = "https://push.example.com/send/1"
    secret: bytes = b"0123456789abcdef"
    key: Any = field(factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)

    @property
    def point(self) -> bytes:
        public: bytes = self.key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )
        return public

    @property
    def subscription(self) -> dict[str, Any]:
        """The body of `POST /api/push/subscribe`."""
        keys = {"p256dh": base64url(self.point), "auth": base64url(self.secret)}
        return {"endpoint": self.endpoint, "keys": keys}

    def decrypt(self, body: bytes) -> bytes:
        salt, length = body[:16], body[20]
        sender = body[21 : 21 + length]
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        shared = self.key.exchange(ec.ECDH(), point)
        info = b"WebPush: info\0" + self.point + sender
        material = _expand(hmac.new(self.secret, shared, hashlib.sha256).digest(), info, 32)
        extracted = hmac.new(salt, material, hashlib.sha256).digest()
        key = _expand(extracted, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _expand(extracted, b"Content-Encoding: nonce\0", 12)
        plain = AESGCM(key).decrypt(nonce, body[21 + length :], None).rstrip(b"\0")
        assert plain[-1:] == b"\x02"
        return plain[:-1]

    def read(self, body: bytes) -> dict[str, Any]:
        """What its service worker gets."""
        found: dict[str, Any] = json.loads(self.decrypt(body))
        return found
