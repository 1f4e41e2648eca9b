"""The port of a hub, with or without TLS: where it listens, and what it warns of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from hapi.hub.options import HubOptions
from hapi.protocol.authority import is_loopback
from hapi.settings import ConfigurationError

if TYPE_CHECKING:
    from hapi.net.server.tls import ServerCertificate

MIN_TOKEN_LENGTH = 20  # characters; a shorter access token is warned about


class CannotServe(Exception):
    """The hub cannot listen on its address; the message says which address and why."""


@define(eq=False, repr=False)
class HubPort:
    """`certificate` None: plain HTTP."""

    _reactor: Any
    _options: HubOptions
    certificate: ServerCertificate | None
    _port: Any = field(default=None, init=False)

    log = Logger()

    @classmethod
    def with_certificate(cls, reactor: Any, options: HubOptions) -> HubPort:
        """Reads the certificate of the options, if there is one. Raises ConfigurationError."""
        if options.tls is None:
            return cls(reactor, options, None)
        from hapi.net.server.tls import CertificateUnusable, ServerCertificate

        try:
            return cls(
                reactor, options, ServerCertificate(options.tls.certificate, options.tls.key)
            )
        except CertificateUnusable as error:
            raise ConfigurationError(f"TLS: {error}") from error

    @property
    def number(self) -> int:
        """0 while it does not listen."""
        return self._port.getHost().port if self._port is not None else 0

    def listen(self, factory: IProtocolFactory) -> None:
        """Raises CannotServe."""
        host, port = self._options.host, self._options.port
        interface = "" if host in ("*", "0.0.0.0") else host
        if self.certificate is not None:
            from hapi.net.server.tls import HttpsFactory

            factory = HttpsFactory(self.certificate, factory)
        try:
            self._port = self._reactor.listenTCP(port, factory, backlog=512, interface=interface)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise CannotServe(f"cannot listen on {host}:{port}: {reason}") from error

    def close(self) -> Deferred[Any]:
        """Accept no more connections."""
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening()

    def local_url(self, public_url: str | None) -> str:
        """The address for programs on this machine; with TLS, one that the certificate covers."""
        host = self._display_host()
        if self.certificate is None:
            return f"http://{host}:{self.number}"
        identity = self.certificate.identity
        for name in (host, *(["localhost"] if is_loopback(host) else [])):
            if identity.covers(name.strip("[]")):
                return f"https://{name}:{self.number}"
        if public_url is not None and urlsplit(public_url).scheme == "https":
            return public_url
        names = (name for name in identity.names if not name.startswith("*"))
        return f"https://{next(names, host)}:{self.number}"

    def _display_host(self) -> str:
        host = self._options.host
        if host in ("*", "0.0.0.0", "::", ""):
            return "127.0.0.1"
        return f"[{host}]" if ":" in host else host

    # --- warnings ---------------------------------------------------------------------------------

    def warn(self, url: str, token: str) -> None:
        """Log what is unsafe about a hub with this address and access token."""
        if self.certificate is not None:
            self._warn_of_certificate(self.certificate, url)
        elif not is_loopback(self._options.host):
            self.log.warn(
                "The hub listens on {host} without TLS, so that the access token can be read on "
                "the network. Put a TLS proxy in front of the hub, or listen on 127.0.0.1",
                host=self._options.host,
            )
        if len(token) < MIN_TOKEN_LENGTH:
            self.log.warn(
                "The access token has only {length} characters, so that whoever reaches the hub "
                "can guess it. Use one of at least {least} random characters",
                length=len(token),
                least=MIN_TOKEN_LENGTH,
            )

    def _warn_of_certificate(self, certificate: ServerCertificate, url: str) -> None:
        identity, path = certificate.identity, certificate.certificate_path
        if identity.has_expired():
            self.log.warn(
                "The certificate in {path} has expired on {date}, so that no client accepts it",
                path=str(path),
                date=f"{identity.not_after:%Y-%m-%d}",
            )
        host = urlsplit(url).hostname or ""
        if not identity.covers(host):
            self.log.warn(
                "The certificate in {path} is not valid for {host}, so that runners and browsers "
                "refuse {url}. It names: {names}. Set --public-url to the address it is for",
                path=str(path),
                host=host,
                url=url,
                names=", ".join((*identity.names, *identity.addresses)) or "nothing",
            )

    def reload(self) -> None:
        """Read certificate and key again, for new connections. What cannot be used is logged, and
        the hub keeps the certificate that it has.
        """
        if self.certificate is None:
            return
        from hapi.net.server.tls import CertificateUnusable

        try:
            identity = self.certificate.reload()
        except CertificateUnusable as error:
            self.log.error(
                "The hub keeps its certificate, valid until {date}: {reason}",
                date=f"{self.certificate.identity.not_after:%Y-%m-%d}",
                reason=str(error),
            )
        else:
            self.log.info(
                "New connections get the certificate in {path}, valid until {date}",
                path=str(self.certificate.certificate_path),
                date=f"{identity.not_after:%Y-%m-%d}",
            )
