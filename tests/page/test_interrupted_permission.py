"""The page: a permission request that waited when its session was killed, and what became of it."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.sync_api import expect

from tests.support.peers import NPM, OUR_HAPI, OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.program]
BY_RUNNER = ["--hapi-starting-mode", "remote", "--started-by", "runner"]


@pytest.mark.parametrize("make", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))])
def test_the_page_says_that_a_request_was_interrupted_and_shows_the_new_one(
    on_stage, tmp_path, browser, make
):
    cast = on_stage(Cast(tmp_path / "stage", token=CANARY))
    _, user = cast.hub(make)
    environment = cast.settings(user, cast.home(OURS, "session"), "")

    def start(*words):
        argv = [*OUR_HAPI, "demo", *BY_RUNNER, *words]
        return cast.start("session", argv, environment, cast.directory("project"))

    first = start()
    sid = first.ready(lambda: next((row["id"] for row in user.sessions() if row["active"]), None))
    user.say(sid, "run: echo hello")
    asked, _ = user.asked(sid)
    # npm's hub shows no key of an agent that it does not know.
    (transcript,) = (cast.home(OURS, "session") / "demo").iterdir()
    agent_session = transcript.stem
    first.end(signal.SIGKILL)
    start("--existing-session-id", sid, "--resume", agent_session)
    again = until(lambda: next((name for name in user.requests(sid) if name != asked), None))

    context = browser.new_context(viewport={"width": 1280, "height": 900}, service_workers="block")
    page = context.new_page()
    page.goto(f"{user.url}/sessions/{sid}#token={CANARY}")
    if make == NPM:
        page.get_by_placeholder("Access token").fill(CANARY)
        sign_in = page.get_by_role("button", name="Sign In")
        sign_in.click()
        expect(sign_in).to_have_count(0, timeout=90_000)
        page.goto(f"{user.url}/sessions/{sid}")
    told = page.get_by_text("before you answered this request").first
    expect(told).to_be_visible(timeout=90_000)  # npm's page takes its time on a busy machine
    expect(page.get_by_text("is asked to go on").first).to_be_visible()
    allow = page.get_by_role("button", name="Allow", exact=True)
    expect(allow).to_have_count(1)  # the earlier request cannot be answered any more
    if directory := os.environ.get("KEEP_SCREENSHOTS"):
        page.screenshot(path=f"{directory}/interrupted-{make}.png")
    allow.click()
    until(lambda: again not in user.requests(sid))
    until(lambda: any("ended with 0" in text for text in user.texts(sid)))
    context.close()
