"""Start a session of the demo agent, ask for something, allow it, print the answer, archive it.

Usage: python client.py http://127.0.0.1:3006 DIRECTORY, with the access token in CLI_API_TOKEN
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from hapi.client import ApiClient, HubAccess


async def walk(reactor, url, directory):
    client = ApiClient(reactor, HubAccess(url, os.environ["CLI_API_TOKEN"]))
    [machine] = await client.machines()
    started = await client.spawn(machine.id, directory, "demo")
    if started.session_id is None:
        sys.exit(started.message)
    events = client.events(started.session_id)
    await client.send(started.session_id, "run: echo done")
    async for _ in events:
        session = await client.session(started.session_id)
        for request in session.requests:
            await client.approve(session.id, request.id)
        texts = [message.text or "" for message in await client.messages(session.id)]
        answers = [text for text in texts if "ended with 0" in text]
        if answers:
            print(answers[-1])
            break
    events.close()
    await client.archive(started.session_id)


react(lambda reactor: Deferred.fromCoroutine(walk(reactor, *sys.argv[1:])))
