"""What `hapi doctor` finds about the hub's certificate, if settings or variables name one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hapi.cli.checks.check import Check
from hapi.hub.options import TlsFiles, read_tls_files

EXPIRES_SOON = timedelta(days=21)  # Let's Encrypt certificates are renewed 30 days before their end


def check_tls(environ: Mapping[str, str], settings: Mapping[str, Any]) -> list[Check]:
    """One finding; none if no certificate is configured."""
    files = read_tls_files({}, environ, settings)
    return [] if files is None else [tls_finding(files, datetime.now(UTC))]


def tls_finding(files: TlsFiles, now: datetime) -> Check:
    from hapi.net.server.tls import CertificateUnusable, Identity

    try:
        identity = Identity.read(files.certificate, files.key)
    except CertificateUnusable as error:
        return Check("tls", "broken", str(error))
    names = ", ".join((*identity.names, *identity.addresses))
    until = f"{identity.not_after:%Y-%m-%d}"
    if identity.has_expired(now):
        return Check("tls", "broken", f"{files.certificate} has expired on {until}")
    if not names:
        text = f"{files.certificate} names no host, so that no client accepts it"
        return Check("tls", "broken", text)
    text = f"{files.certificate} for {names}, valid until {until}"
    if files.key.stat().st_mode & 0o007:
        return Check(
            "tls", "broken", f"{files.key} is accessible to all users: run `chmod o= {files.key}`"
        )
    if identity.has_expired(now + EXPIRES_SOON):
        return Check("tls", "note", f"{text}; renew it and send the hub SIGHUP")
    return Check("tls", "good", text)
