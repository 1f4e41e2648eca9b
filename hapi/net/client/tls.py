"""Certificate checks whose failures say what is wrong. Loaded for https hubs only: OpenSSL costs start-up time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define
from OpenSSL.SSL import SSL_CB_WRITE_ALERT, Connection, Context
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS, platformTrust
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import directlyProvides, implementer, providedBy

from hapi.net.common.errors import CertificateRefused

# OpenSSL tells Twisted no more than "certificate verify failed"; the alert it sends to the server tells why (RFC 8446 6.2).
_ALERTS = {
    45: "its certificate has expired",
    48: "its certificate is self-signed, or from an authority that is not trusted here",
}


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class VerifiedTlsClient:
    """A TLS client for `host`: certificate and name are checked, by the platform's authorities (or SSL_CERT_FILE)."""

    _host: str

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Connection:
        roots: Any = _ObservedTrustRoots(partial(_explain, tlsProtocol))
        return optionsForClientTLS(self._host, trustRoot=roots).clientConnectionForTLS(tlsProtocol)


class _ObservedTrustRoots:
    """The platform's authorities; `tell` hears what OpenSSL does on the way."""

    def __init__(self, tell: Callable[[Connection, int, int], None]) -> None:
        self._roots, self._tell = platformTrust(), tell
        directlyProvides(self, providedBy(self._roots))

    def _addCACertsToContext(
        self, context: Context
    ) -> None:  # Twisted's IOpenSSLTrustRoot; the one hook before first use
        self._roots._addCACertsToContext(context)
        context.set_info_callback(self._tell)


def _explain(tls_protocol: Any, connection: Connection, where: int, result: int) -> None:
    if where == SSL_CB_WRITE_ALERT and (words := _ALERTS.get(result & 0xFF)) is not None:
        tls_protocol.failVerification(Failure(CertificateRefused(words)))


@implementer(IPolicyForHTTPS)
class VerifyingPolicy:
    """The same for `twisted.web.client.Agent`."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> VerifiedTlsClient:
        return VerifiedTlsClient(hostname.decode("ascii"))
