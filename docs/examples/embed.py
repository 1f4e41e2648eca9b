"""A hub and a runner inside a program of your own."""

from twisted.internet.task import react

from hapi.hub import HubOptions, hub_service
from hapi.runner import RunnerOptions, runner_service


async def main(reactor):
    hub = hub_service(reactor, HubOptions.from_environment(port=0))
    hub.startService()
    await hub.when_listening
    environ = {**os.environ, "HAPI_API_URL": hub.url, "CLI_API_TOKEN": hub.token}
    runner = runner_service(reactor, RunnerOptions.from_environment(environ))
    runner.startService()
