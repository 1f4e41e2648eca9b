"""A program with a link whose hub goes away: it emits numbered events and prints each number after
it was emitted. `argv`: HAPI home, seconds between two events, `away` or `silent`."""

import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from hapi.home import Home
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.settings import HubAccess
from hapi.spool import SpoolFile, SpoolHeader
from tests.support.real_hub import RealHub


async def main(home: Home, interval: float, how: str) -> None:
    hub = RealHub(reactor)
    auth = {"clientType": "session-scoped", "sessionId": "s"}
    link = HubLink(reactor, HubAccess(hub.url, "good"), auth, RpcTable("s"))
    spool = SpoolFile(home, "s", lambda: SpoolHeader("s", 1, hub.url))
    link.spool_to(spool, deferToThread)
    link.startService()
    while not link.connected:
        await deferLater(reactor, 0.01)
    if how == "away":
        await hub.stop()
        while link.connected:
            await deferLater(reactor, 0.01)
    numbers = iter(range(10**9))

    def emit() -> None:
        number = next(numbers)
        link.emit("message", {"sid": "s", "message": {"n": number, "text": "x" * 300}})
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()

    LoopingCall(emit).start(interval)


if __name__ == "__main__":
    ensureDeferred(main(Home(Path(sys.argv[1])), float(sys.argv[2]), sys.argv[3]))
    reactor.run()
