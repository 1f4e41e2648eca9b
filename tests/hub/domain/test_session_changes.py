"""Two sockets of one machine while its runner is replaced: methods are the newer one's, and the
older one takes none along.
"""

from hapi.hub.domain.rpc import RpcRouter
from tests.support.hub_stage import Stage


class Peer:
    """A socket, as far as the gateway tells sockets apart."""


def test_methods_belong_to_the_newer_socket_and_the_older_ones_leaving_takes_none__H11():
    rpc, old, new = RpcRouter(), Peer(), Peer()
    for peer in (old, new):
        for name in ("spawn-happy-session", "stop-session"):
            rpc.register(peer, f"m:{name}")
    rpc.forget(old)
    assert rpc.serves("m", "spawn-happy-session")
    assert rpc._methods["m:stop-session"] is new


def test_the_older_socket_can_claim_them_again_when_the_newer_one_failed__H11():
    rpc, old, new = RpcRouter(), Peer(), Peer()
    for peer in (old, new, old):
        rpc.register(peer, "m:stop-session")
    rpc.forget(new)
    assert rpc._methods["m:stop-session"] is old


def test_the_replacement_serves_again_when_the_older_socket_connected_after_it_and_left__H11():
    rpc, old, new = RpcRouter(), Peer(), Peer()
    for peer in (new, old, new, old):
        rpc.register(peer, "m:stop-session")
    assert rpc._methods["m:stop-session"] is old
    rpc.forget(old)
    assert rpc._methods["m:stop-session"] is new
    rpc.forget(new)
    assert not rpc._methods
    assert not rpc._earlier


def test_an_older_socket_that_withdraws_a_method_does_not_get_it_back():
    rpc, old, middle, new = RpcRouter(), Peer(), Peer(), Peer()
    for peer in (old, middle, new):
        rpc.register(peer, "m:stop-session")
    rpc.unregister(middle, "m:stop-session")
    rpc.unregister(new, "m:stop-session")
    assert rpc._methods["m:stop-session"] is old
    rpc.forget(middle)
    rpc.unregister(old, "m:stop-session")
    assert not rpc._methods
    assert not rpc._earlier


def test_of_two_runners_with_one_machine_id_the_newest_is_asked_and_nothing_goes_to_and_fro__N19():
    stage = Stage()
    machine, older = stage.machine()
    older.serve(machine, "list-directory")
    _, newer = stage.machine()
    newer.serve(machine, "list-directory")
    page = stage.listen()
    for _ in range(9):
        for peer in (older, newer):
            peer.send("machine-alive", {"machineId": machine, "time": stage.now()})
        stage.tick(20.0)
    assert stage.registry.rpc._methods[f"{machine}:list-directory"] is newer
    assert [one["id"] for one in stage.get("/api/machines")["machines"]] == [machine]
    assert not older.hung_up
    assert not newer.hung_up
    assert len(page.of("machine-updated")) <= 9 * 2 + 1
    newer.drop()
    assert stage.registry.rpc._methods[f"{machine}:list-directory"] is older
    older.drop()
    assert not stage.registry.rpc.serves(machine, "list-directory")
