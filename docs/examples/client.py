"""Start a session of the demo agent, ask for something, allow it, print the answer, archive it.

Usage: python client.py http://127.0.0.1:3006 DIRECTORY, with the access token in CLI_API_TOKEN
"""

import os
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from hapi.client import ApiClient, HubAccess, NotFound


async def walk(reactor, url, directory):
    client = ApiClient(reactor, HubAccess(url, os.environ["CLI_API_TOKEN"]))
    [machine] = await client.machines()
    started = await client.spawn(machine.id, directory, "demo")
    if started.session_id is None:
        sys.exit(started.message)
    try:
        print(await answer(client, started.session_id, "run: echo done"))
    finally:
        await client.archive(started.session_id)


async def answer(client, session_id, prompt):
    events = client.events(session_id)
    await client.send(session_id, prompt)
    answered = set()  # a request stays open until the session has taken the answer
    async for _ in events:
        session = await client.session(session_id)
        for request in session.requests:
            if request.id not in answered:
                answered.add(request.id)
                try:
                    await client.approve(session_id, request.id)
                except NotFound:
                    pass  # somebody else has answered it
        texts = [message.text or "" for message in await client.messages(session_id)]
        answers = [text for text in texts if "ended with 0" in text]
        if answers:
            events.close()
            return answers[-1]
    raise RuntimeError("the events have ended before the answer")


react(lambda reactor: Deferred.fromCoroutine(walk(reactor, *sys.argv[1:])))
