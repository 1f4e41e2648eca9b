"""TLS clients that say why a certificate was refused. Loaded for https hubs only.

Twisted's `wrapClientTLS` is not used: it does not work in a process that began without OpenSSL
(`hapi.startup.block_tls_imports`) and is told of a hub with https later.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import directlyProvides, implementer, providedBy

from hapi.net.common.errors import (
    CERTIFICATE_EXPIRED,
    CERTIFICATE_UNTRUSTED,
    CertificateRefused,
)
from hapi.startup import allow_tls_imports

allow_tls_imports()
from OpenSSL.SSL import SSL_CB_WRITE_ALERT, Connection, Context  # noqa: E402
from twisted.internet.ssl import optionsForClientTLS, platformTrust  # noqa: E402
from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: E402

# OpenSSL's error is only "certificate verify failed"; the alert that it sends to the server has
# the reason (RFC 8446 6.2).
_ALERTS = {
    45: CERTIFICATE_EXPIRED,
    48: CERTIFICATE_UNTRUSTED,
}


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False, repr=False)
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


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class TlsEndpoint:
    """Connects by `plain` to `host`, whose certificate is verified."""

    _plain: Any
    _host: str

    def connect(self, protocolFactory: Any) -> Any:
        factory = TLSMemoryBIOFactory(VerifiedTlsClient(self._host), True, protocolFactory)
        return self._plain.connect(factory).addCallback(lambda wrapper: wrapper.wrappedProtocol)


@implementer(IAgentEndpointFactory)
@define(eq=False, repr=False)
class TlsEndpoints:
    """The same for `twisted.web.client.Agent.usingEndpointFactory`. `timeout`: seconds."""

    _reactor: Any
    _timeout: float

    def endpointForURI(self, uri: Any) -> TlsEndpoint:
        plain = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=self._timeout)
        return TlsEndpoint(plain, uri.host.decode("ascii"))
