"""A server's certificate and key, which can be read again while it serves. Loaded for TLS only."""

from __future__ import annotations

import ipaddress
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import crypto
from OpenSSL.SSL import Connection, Error
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import implementer

from hapi.request_id import request_id_from

MAX_PEM_SIZE = 1 << 20  # bytes
HANDSHAKE_RECORD = b"\x16"  # the first byte of a TLS connection (RFC 8446, 5.1)
PLAIN_REPLY = (  # RFC 9110, 15.5.20: no answer for this scheme
    b"HTTP/1.1 421 This hub speaks HTTPS only\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nX-Request-Id: %b\r\nConnection: close\r\n\r\n%b"
)


class CertificateUnusable(Exception):
    """A certificate or key cannot be used; the message names the file and says why."""


@frozen
class Identity:
    """A certificate chain with its key, the server's own certificate first."""

    options: CertificateOptions
    names: tuple[str, ...]  # DNS names, also wildcards such as *.example.com
    addresses: tuple[str, ...]
    not_after: datetime

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Identity:
        """Read two PEM files; one file may hold both. Raises CertificateUnusable."""
        chain = _read_chain(certificate)
        private_key = _read_key(key)
        own = chain[0]
        if private_key.public_key() != own.public_key():
            raise CertificateUnusable(
                f"the key in {key} does not belong to the first certificate in {certificate}"
            )
        try:
            options = CertificateOptions(
                privateKey=crypto.PKey.from_cryptography_key(private_key),
                certificate=crypto.X509.from_cryptography(own),
                extraCertChain=[crypto.X509.from_cryptography(each) for each in chain[1:]],
                acceptableProtocols=[b"http/1.1"],
            )
            options.getContext()  # cached; refuses what OpenSSL does not accept, such as small keys
        except (crypto.Error, Error, TypeError) as error:
            raise CertificateUnusable(f"{certificate} is not accepted: {_reason(error)}") from error
        names, addresses = _names(own)
        return cls(options, names, addresses, own.not_valid_after_utc)

    def has_expired(self, now: datetime | None = None) -> bool:
        return self.not_after <= (now or datetime.now(UTC))

    def covers(self, host: str) -> bool:
        """Whether clients accept the certificate for `host` (RFC 9525, 6.3)."""
        try:
            return str(ipaddress.ip_address(host)) in self.addresses
        except ValueError:
            wildcard = "*." + host.lower().partition(".")[2]
            return host.lower() in self.names or wildcard in self.names


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False, repr=False)
class ServerCertificate:
    """Presents what the two files held when they were last read successfully."""

    certificate_path: Path
    key_path: Path
    identity: Identity = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.identity = Identity.read(self.certificate_path, self.key_path)

    def reload(self) -> Identity:
        """Read the files again; new connections get what they hold.

        Raises CertificateUnusable, also for an expired certificate, and keeps the one that it has.
        """
        found = Identity.read(self.certificate_path, self.key_path)
        if found.has_expired():
            raise CertificateUnusable(
                f"{self.certificate_path} has expired on {found.not_after:%Y-%m-%d}"
            )
        self.identity = found
        return found

    def serverConnectionForTLS(self, tlsProtocol: Any) -> Connection:
        return Connection(self.identity.options.getContext(), None)


def _plain_reply() -> bytes:
    request_id = request_id_from(None)
    facts = {"error": "This hub speaks HTTPS only: use https://...", "requestId": request_id}
    body = json.dumps(facts).encode()
    return PLAIN_REPLY % (len(body), request_id.encode(), body)


class HttpsTransport(BufferingTLSTransport):
    """TLS that tells a client which speaks plain HTTP so, instead of ending its connection."""

    _is_plain: bool | None = None  # None: nothing was received yet

    def dataReceived(self, data: bytes) -> None:
        if self._is_plain is None:
            self._is_plain = data[:1] != HANDSHAKE_RECORD
            if self._is_plain:
                transport: Any = self.transport
                transport.write(_plain_reply())
                transport.loseConnection()
        if not self._is_plain:
            super().dataReceived(data)  # type: ignore[no-untyped-call]


class HttpsFactory(TLSMemoryBIOFactory):
    """Serves the site `wrapped` over TLS, with the certificate of each moment."""

    noisy = False
    protocol = HttpsTransport

    def __init__(self, certificate: ServerCertificate, wrapped: IProtocolFactory) -> None:
        super().__init__(certificate, False, wrapped)


def _read_chain(path: Path) -> list[x509.Certificate]:
    content = _read_file(path)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise CertificateUnusable(f"{path} contains no certificate in PEM form")
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateUnusable(f"{path} contains a malformed certificate: {error}") from error


def _read_key(path: Path) -> Any:
    content = _read_file(path)
    if b"PRIVATE KEY-----" not in content:
        raise CertificateUnusable(f"{path} contains no private key in PEM form")
    start = content.rfind(b"-----BEGIN", 0, content.index(b"PRIVATE KEY-----"))
    try:
        return load_pem_private_key(content[start:], password=None)
    except TypeError as error:  # as documented: it is encrypted, and there is no password
        raise CertificateUnusable(
            f"the private key in {path} is encrypted; `openssl pkey -in {path} -out FILE` decrypts "
            "it"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(f"{path} contains a malformed private key: {error}") from error


def _read_file(path: Path) -> bytes:
    try:
        # O_NONBLOCK: a FIFO must not stop the server
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return file.read(MAX_PEM_SIZE)
    except OSError as error:
        raise CertificateUnusable(f"{path} cannot be read: {error.strerror or error}") from error


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return (), ()  # clients read no other names (RFC 9525, 2)
    names = tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))
    return names, tuple(str(address) for address in found.get_values_for_type(x509.IPAddress))


def _reason(error: Exception) -> str:
    """The last part of OpenSSL's errors, which are tuples of library, function and reason."""
    parts = error.args[0] if error.args else ""
    if isinstance(parts, list) and parts and isinstance(parts[-1], tuple):
        return str(parts[-1][-1])
    return str(error) or type(error).__name__
