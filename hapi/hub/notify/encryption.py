"""Encryption of push messages for one subscription (RFC 8291; content coding aes128gcm, RFC 8188).

The push service passes on what only the browser can read.
"""

from __future__ import annotations

import os
from typing import Any

from hapi.hub.notify.vapid import from_base64url
from hapi.startup import allow_tls_imports

MAX_PLAINTEXT = 3993  # bytes: push services accept messages of 4096 (RFC 8030 7.2)
RECORD_SIZE = 4096  # bytes; the message is one record
PUBLIC_KEY_LENGTH, AUTH_LENGTH, SALT_LENGTH = 65, 16, 16  # bytes
LAST_RECORD = b"\x02"  # delimiter (RFC 8188 2)


class InvalidKeys(ValueError):
    """The keys of a subscription cannot be used."""


def check_keys(p256dh: str, auth: str) -> tuple[bytes, bytes]:
    """The public key and the secret of a subscription. Raises InvalidKeys."""
    try:
        point, secret = from_base64url(p256dh), from_base64url(auth)
        _public_key(point)
    except ValueError as error:
        raise InvalidKeys(str(error)) from error
    if len(secret) != AUTH_LENGTH:
        raise InvalidKeys(f"the authentication secret must have {AUTH_LENGTH} bytes")
    return point, secret


def _public_key(point: bytes) -> Any:
    allow_tls_imports()
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(point) != PUBLIC_KEY_LENGTH:
        raise ValueError(f"the public key must have {PUBLIC_KEY_LENGTH} bytes")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def encrypted(
    plaintext: bytes, point: bytes, secret: bytes, key: Any = None, salt: bytes | None = None
) -> bytes:
    """The body of a push message for the subscription with these keys.

    `key` (an EC private key) and `salt` are made anew for each message. Raises ValueError if
    `plaintext` is too long.
    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise ValueError(f"a push message has at most {MAX_PLAINTEXT} bytes")
    recipient = _public_key(point)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
        return HKDF(hashes.SHA256(), length, salt, info).derive(secret)

    key = key or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(SALT_LENGTH)
    own = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = key.exchange(ec.ECDH(), recipient)
    material = derived(shared, secret, b"WebPush: info\0" + point + own, 32)
    content_key = derived(material, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derived(material, salt, b"Content-Encoding: nonce\0", 12)
    sealed: bytes = AESGCM(content_key).encrypt(nonce, plaintext + LAST_RECORD, None)
    header = salt + RECORD_SIZE.to_bytes(4, "big") + bytes([len(own)]) + own
    return bytes(header + sealed)
