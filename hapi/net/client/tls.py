"""TLS clients that say why a certificate was refused. Loaded for https hubs only."""

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

# OpenSSL's error is only "certificate verify failed"; the alert that it sends to the server has
# the reason (RFC 8446 6.2).
_ALERTS = {
    45: "its certificate has expired",
    48: "its certificate is self-signed, or from an authority that is not trusted here",
}


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class VerifiedTlsClient:
    """A TLS client for `host` that checks certificate and name.

    The authorities are the platform's, or those of SSL_CERT_FILE.
    """

    _host: str

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Connection:
        roots: Any = _ObservedTrustRoots(partial(_explain, tlsProtocol))
        return optionsForClientTLS(self._host, trustRoot=roots).clientConnectionForTLS(tlsProtocol)


class _ObservedTrustRoots:
    """The platform's authorities; `observe` is called with each state of the handshake."""

    def __init__(self, observe: Callable[[Connection, int, int], None]) -> None:
        self._roots, self._observe = platformTrust(), observe
        directlyProvides(self, providedBy(self._roots))

    def _addCACertsToContext(
        self, context: Context
    ) -> None:  # Twisted's IOpenSSLTrustRoot; the one hook before first use
        self._roots._addCACertsToContext(context)
        context.set_info_callback(self._observe)


def _explain(tls_protocol: Any, connection: Connection, where: int, result: int) -> None:
    if where == SSL_CB_WRITE_ALERT and (words := _ALERTS.get(result & 0xFF)) is not None:
        tls_protocol.failVerification(Failure(CertificateRefused(words)))


@implementer(IPolicyForHTTPS)
class VerifyingPolicy:
    """The same for `twisted.web.client.Agent`."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> VerifiedTlsClient:
        return VerifiedTlsClient(hostname.decode("ascii"))
