"""A reverse proxy on loopback: `python path_proxy.py PORT NAME=PORT…` serves what is at each port
below `/NAME/`, and removes that path."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as installed
from twisted.web.proxy import ReverseProxyResource
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

reactor: Any = installed


class Behind(ReverseProxyResource):
    """As Twisted has it, except that the Host header stays as the browser sent it."""

    def getChild(self, path: bytes, request: Any) -> Behind:
        found = super().getChild(path, request)
        return Behind(found.host, found.port, found.path)

    def render(self, request: Any) -> int:
        _, mark, query = request.uri.partition(b"?")
        request.content.seek(0)
        factory = self.proxyClientFactoryClass(
            request.method,
            self.path + mark + query,
            request.clientproto,
            request.getAllHeaders(),
            request.content.read(),
            request,
        )
        reactor.connectTCP(self.host, self.port, factory)
        return int(NOT_DONE_YET)


def main(port: str, *hubs: str) -> None:
    root = Resource()
    for hub in hubs:
        name, _, target = hub.partition("=")
        root.putChild(name.encode(), Behind("127.0.0.1", int(target), b""))
    reactor.listenTCP(int(port), Site(root), interface="127.0.0.1")
    print("listens", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
