"""A throw-away certificate authority, and servers' certificates from it."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@define
class Authority:
    """`roots` is the file that clients trust (SSL_CERT_FILE)."""

    directory: Path
    _key: ec.EllipticCurvePrivateKey = field(
        factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __attrs_post_init__(self) -> None:
        public = self._key.public_key()
        self.roots.write_bytes(self._sign("authority", public, (), 100, True).public_bytes(PEM))

    @property
    def roots(self) -> Path:
        return self.directory / "roots.pem"

    def _sign(
        self, subject: str, public: object, hosts: tuple[str, ...], days: float, is_ca: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("authority"))
            .public_key(public)  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(
        self, *hosts: str, days: float = 90, name: str = "server", password: bytes | None = None
    ) -> tuple[Path, Path]:
        """The files of a new certificate for `hosts` and of its key, replaced if they exist."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.directory / f"{name}.pem"
        key_file = self.directory / f"{name}.key"
        signed = self._sign(name, key.public_key(), hosts, days, False)
        certificate.write_bytes(signed.public_bytes(PEM))
        encryption = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password)
        )
        key_file.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
        key_file.chmod(0o600)
        return certificate, key_file
