"""Two sockets of one machine while its runner is replaced: methods are the newer one's, and the older one takes none along."""

from hapi.hub.gateway import Gateway


class Peer:
    """A socket, as far as the gateway tells sockets apart."""


def test_methods_belong_to_the_newer_socket_and_the_older_ones_leaving_takes_none__H11():
    gateway, old, new = Gateway(), Peer(), Peer()
    for peer in (old, new):
        for name in ("spawn-happy-session", "stop-session"):
            gateway.register(peer, f"m:{name}")
    gateway.forget(old)
    assert gateway.serves("m", "spawn-happy-session")
    assert gateway._methods["m:stop-session"] is new


def test_the_older_socket_can_claim_them_again_when_the_newer_one_failed__H11():
    gateway, old, new = Gateway(), Peer(), Peer()
    for peer in (old, new, old):
        gateway.register(peer, "m:stop-session")
    gateway.forget(new)
    assert gateway._methods["m:stop-session"] is old
