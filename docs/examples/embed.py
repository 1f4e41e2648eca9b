"""A hub and a runner inside a program of your own."""

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from hapi.hub import HubOptions, hub_service
from hapi.runner import RunnerOptions, runner_service


async def main():
    hub = hub_service(reactor, HubOptions.from_environment(os.environ, port=0))
    hub.startService()
    await hub.when_listening
    found = {**os.environ, "HAPI_API_URL": hub.url, "CLI_API_TOKEN": hub.token}
    runner = runner_service(reactor, RunnerOptions.from_environment(found), on_retired=print)
    runner.startService()
    # Stop the runner first: it still reports to the hub.
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: runner.stopService().addBoth(lambda _: hub.stopService())
    )
    print(f"{hub.url}/#token={hub.token}", flush=True)


reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.run()
