"""The address of an HTTP proxy.

Loads no Twisted: it is read with the options of a hub, which decide whether OpenSSL is loaded.
"""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from hapi.settings import ConfigurationError


@frozen
class ProxyAddress:
    host: str
    port: int
    credentials: str = field(default="", repr=False)  # Basic, in base64

    @classmethod
    def parse(cls, url: str) -> ProxyAddress:
        """The proxy `http://[user:password@]host:port`. Raises ConfigurationError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme != "http" or not host or parts.path.strip("/") or parts.query:
            raise ConfigurationError(
                f"the proxy {_without_password(url)!r} (--notify-proxy, HAPI_NOTIFY_PROXY, "
                "notifyProxy in settings.json) must be a URL such as http://proxy:3128"
            )
        credentials = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = base64.b64encode(pair.encode()).decode()
        return cls(host, port or 80, credentials)


def _without_password(url: str) -> str:
    return url.rpartition("@")[2] if "@" in url else url
