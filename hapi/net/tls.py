"""Certificate checks whose failures say what is wrong. Loaded for https hubs only: OpenSSL costs start-up time."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define
from OpenSSL.SSL import SSL_CB_WRITE_ALERT, Connection
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from hapi.net.errors import CertificateRefused

# OpenSSL tells Twisted no more than "certificate verify failed"; the alert it sends to the server tells why (RFC 8446 6.2).
_ALERTS = {
    45: "its certificate has expired",
    48: "its certificate is self-signed, or from an authority that is not trusted here",
}


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class Checked:
    """A TLS client for `host`: certificate and name are checked, by the platform's authorities (or SSL_CERT_FILE)."""

    _host: str

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Connection:
        connection: Connection = optionsForClientTLS(self._host).clientConnectionForTLS(tlsProtocol)
        connection.get_context().set_info_callback(partial(_explain, tlsProtocol))
        return connection


def _explain(tls_protocol: Any, connection: Connection, where: int, result: int) -> None:
    if where == SSL_CB_WRITE_ALERT and (words := _ALERTS.get(result & 0xFF)) is not None:
        tls_protocol.failVerification(Failure(CertificateRefused(words)))


@implementer(IPolicyForHTTPS)
class CheckedPolicy:
    """The same for `twisted.web.client.Agent`."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Checked:
        return Checked(hostname.decode("ascii"))
