"""The key with which the hub identifies itself at push services (VAPID, RFC 8292)."""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path
from typing import Any

import msgspec
from attrs import define, field

from hapi.home import read_capped, write_atomically
from hapi.settings import ConfigurationError
from hapi.startup import allow_tls_imports

LIFETIME = 12 * 3600  # seconds; RFC 8292 allows at most 24 hours
RENEWAL = 3600  # seconds before its end at which a signature is made anew


PEM = b"-----BEGIN"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SEC 2, 2.4.2


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


@define(eq=False, repr=False)
class VapidKey:
    """`path`: the file of the private key, which is made when it is first used; None: the key is
    kept in memory. `subject`: whom a push service may turn to, a `mailto:` or `https:` URL.
    `shared`: the key of several hubs, used instead of the file: a private key in PEM form, or a
    secret from which it is derived.
    """

    path: Path | None
    subject: str
    _shared: bytes | None = field(default=None, repr=False)
    _key: Any = field(default=None, repr=False)
    _public: str = ""
    _tokens: dict[str, tuple[str, int]] = field(factory=dict, repr=False)

    @property
    def public_key(self) -> str:
        """The uncompressed point of the public key, in base64url. Raises ConfigurationError."""
        self._load()
        return self._public

    def authorization(self, origin: str, now: float) -> str:
        """The header for requests to the push service `origin` at `now` (seconds since the epoch).
        Raises ConfigurationError.
        """
        token, expires_at = self._tokens.get(origin, ("", 0))
        if expires_at - now < RENEWAL or expires_at - now > LIFETIME:
            expires_at = int(now) + LIFETIME
            token = self._signed({"aud": origin, "exp": expires_at, "sub": self.subject})
            if len(self._tokens) > 100:  # origins are chosen by clients
                self._tokens.clear()
            self._tokens[origin] = token, expires_at
        return f"vapid t={token}, k={self.public_key}"

    def _signed(self, claims: dict[str, Any]) -> str:
        """A JWT with an ES256 signature (RFC 7518 3.4: the numbers r and s, 32 bytes each).

        PyJWT is loaded without `cryptography` (see `hapi.hub.access.auth.load_jwt`), so that it
        cannot make one.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        self._load()
        parts = ({"typ": "JWT", "alg": "ES256"}, claims)
        content = ".".join(base64url(msgspec.json.encode(part)) for part in parts)
        r, s = decode_dss_signature(self._key.sign(content.encode(), ECDSA(SHA256())))
        return f"{content}.{base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def _load(self) -> None:
        if self._key is not None:
            return
        allow_tls_imports()
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        if self._shared is not None:
            content: bytes | None = self._shared
        else:
            content = None if self.path is None else _read(self.path)
        if self._shared is not None and not self._shared.startswith(PEM):
            key: Any = ec.derive_private_key(_derived_number(self._shared), ec.SECP256R1())
        elif content is None:
            key = ec.generate_private_key(ec.SECP256R1())
            if self.path is not None:
                content = key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                _write(self.path, content)
        else:
            try:
                key = serialization.load_pem_private_key(content, None)
            except (ValueError, TypeError) as error:
                raise ConfigurationError(_unusable(self.path)) from error
            if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
                raise ConfigurationError(_unusable(self.path))
        point = key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self._key, self._public = key, base64url(point)


def _derived_number(secret: bytes) -> int:
    """A private key of P-256 from a secret, by the extra bits of FIPS 186-5, A.2.1."""
    return int.from_bytes(hmac.digest(secret, b"HAPI VAPID", "sha384")) % (P256_ORDER - 1) + 1


def _unusable(path: Path | None) -> str:
    return (
        f"{path} does not contain a P-256 private key: remove the file, and all devices have to "
        "turn on their notifications again"
    )


def _read(path: Path) -> bytes | None:
    try:
        return read_capped(path)
    except OSError as error:
        reason = error.strerror or "not a regular file"
        raise ConfigurationError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        raise ConfigurationError(f"{path} cannot be written: {reason}") from error
