"""Changing the access token: hub, runner, live session and page come back with the new one."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess

import pytest
from playwright.sync_api import expect

from tests.support.peers import OUR_HAPI, OURS, Refused, Running
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.peer("chromium")


def runner_with_settings(place) -> Running:
    """A runner whose token is in its `settings.json`, where it can be changed."""
    home = place.cast.home(OURS, "runner")
    settings = home / "settings.json"
    settings.write_text(json.dumps({"apiUrl": place.url, "cliApiToken": CANARY}))
    settings.chmod(0o600)
    environment = {"HAPI_HOME": str(home)}
    program = place.cast.start("runner", [*OUR_HAPI, "runner", "start-sync"], environment)
    running = Running(OURS, program, home)
    program.ready(lambda: settings.exists() and place.user.machines())
    return running


def log_in(place, running: Running, token: str) -> None:
    """`hapi auth login` in the home of the runner, and the signal that makes it read that."""
    done = subprocess.run(
        [*OUR_HAPI, "auth", "login"],
        env={**place.cast.base, "HAPI_HOME": str(running.home)},
        input=token,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    running.program.process.send_signal(signal.SIGHUP)


def test_everything_comes_back_when_it_is_given_the_new_access_token(place):
    running = runner_with_settings(place)
    machine = running.machine_id
    session = place.user.started(machine, place.cast.directory("project"), agent="demo")
    page = place.visit(f"/sessions/{session}")
    message = page.get_by_role("textbox", name="Message")
    expect(message).to_be_enabled()
    old_login = place.user.jwt

    new = f"canary{secrets.token_hex(16)}"
    place.cast.token = new
    place.restart_hub()
    place.user.token, place.user.jwt, renewed = new, old_login, place.user.jwt
    with pytest.raises(Refused) as refused:
        place.user.sessions()
    assert refused.value.status == 401
    place.user.jwt = renewed
    expect(page.get_by_role("alert")).to_contain_text("no longer valid")

    log_in(place, running, new)
    until(lambda: place.user.machine(machine), what="the machine to be registered again")
    until(lambda: place.user.session(session)["active"], what="the session to be active again")
    page.get_by_label("Access token").fill(new)
    page.keyboard.press("Enter")
    assert page.url == f"{place.url}/sessions/{session}"
    expect(message).to_be_enabled()
    message.fill("hello")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent")).to_contain_text("hello")
    expect(page.locator(".block.text").first).to_contain_text("Hello! I am the demo agent")
