"""Two runners in one process: a home, a hub and a machine of its own for each."""

import os
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from hapi.hub import HubOptions, hub_service
from hapi.runner import RunnerOptions, runner_service


async def begin(services, home, name):
    """A hub and a runner in `home`; the runner, once its hub knows it."""
    environ = {**os.environ, "HAPI_HOME": str(home), "HAPI_HOSTNAME": name}
    hub = hub_service(reactor, HubOptions.from_environment(environ, port=0))
    hub.setServiceParent(services)
    await hub.when_listening
    found = {**environ, "HAPI_API_URL": hub.url, "CLI_API_TOKEN": hub.token}
    options = RunnerOptions.from_environment(found, sets_title=False)
    runner = runner_service(
        reactor, options, on_retired=lambda code: print(f"{name} has left ({code})", flush=True)
    )
    runner.setServiceParent(services)
    await runner.when_registered()
    print(f"{name} is at {hub.url}", flush=True)
    return runner


async def main():
    services, home = MultiService(), Path(os.environ["HAPI_HOME"])
    services.startService()
    reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
    await gatherResults(
        [Deferred.fromCoroutine(begin(services, home / name, name)) for name in ("one", "two")]
    )
    print("both run", flush=True)


reactor.callWhenRunning(
    lambda: Deferred.fromCoroutine(main()).addErrback(lambda reason: reason.printTraceback())
)
reactor.run()
