"""The page in Chromium as it is notified: the service worker gets what the hub has sent, shows it,
and answers.

Chromium's own push service is Google's, which tests do not reach. The subscription is therefore one
at a push service on loopback; what the hub sends there over TLS is decrypted as Chromium would, and
handed to the service worker by the browser itself (`ServiceWorker.deliverPushMessage`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import define
from playwright.sync_api import Page, Worker, expect

import hapi
from tests.support.notify_devices import Device
from tests.support.notify_service import PushService
from tests.support.page_sessions import ScriptedSession
from tests.support.peers import OURS

pytestmark = pytest.mark.peer("chromium")
PHONE = {"width": 390, "height": 844}
COMMAND = {"command": "rm -rf build"}
TIMEOUT = 120.0  # seconds for what the worker does

# What the browser's push service would have given.
SUBSCRIBE = """(() => {
  const made = %s;
  const subscription = {
    endpoint: made.endpoint,
    options: { applicationServerKey: null },
    toJSON: () => made,
    unsubscribe: async () => { localStorage.removeItem("test.subscribed"); return true; },
  };
  PushManager.prototype.subscribe = async function ({ applicationServerKey }) {
    subscription.options.applicationServerKey = applicationServerKey.buffer;
    localStorage.setItem("test.subscribed", "yes");
    return subscription;
  };
  PushManager.prototype.getSubscription = async () =>
    localStorage.getItem("test.subscribed") ? subscription : null;
})()"""
# A click of a person, whose events a script cannot make itself.
CLICK = """async ([tag, action]) => {
  const [notification] = await registration.getNotifications({ tag });
  const event = new NotificationEvent("notificationclick", { notification, action });
  let done = null;
  event.waitUntil = (promise) => { done = promise; };
  dispatchEvent(event);
  await done;
}"""
SHOWN = """async () => (await registration.getNotifications()).map(
  ({ title, body, tag, data, actions }) => ({ title, body, tag, data, actions }))"""


@define(eq=False)
class Phone:
    """A phone-sized page that is notified."""

    place: Any
    service: PushService
    device: Device
    page: Page

    @property
    def worker(self) -> Worker:
        return self.page.context.service_workers[0]

    def deliver(self, number: int) -> None:
        """Hand the message of this number, decrypted, to the service worker."""
        content = self.device.decrypt(self.service.message(number).body).decode()
        cdp = self.page.context.new_cdp_session(self.page)
        found: list[str] = []
        cdp.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda event: found.extend(each["registrationId"] for each in event["registrations"]),
        )
        cdp.send("ServiceWorker.enable")
        self.wait(lambda: bool(found))
        cdp.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": self.place.url, "registrationId": found[-1], "data": content},
        )
        cdp.detach()

    def shown(self) -> list[dict[str, Any]]:
        return list(self.worker.evaluate(SHOWN))

    def wait(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT
        while not is_so():
            assert time.monotonic() < end, "it did not happen"
            self.page.wait_for_timeout(50)

    def wait_for_notification(self) -> dict[str, Any]:
        self.wait(lambda: len(self.shown()) == 1)
        return self.shown()[0]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PushService]:
    made = PushService(tmp_path)
    yield made
    made.close()


def phone_of(place: Any, service: PushService) -> Phone:
    """The page of a hub that reaches the push service, with notifications turned on."""
    place.running.program.end()
    place.running, place.user = place.cast.hub(OURS, **service.environment)
    device = Device(service.endpoint())
    page = place.visit(
        "/settings/notifications",
        viewport=PHONE,
        service_workers="allow",
        permissions=["notifications"],
    )
    service.pause = lambda: page.wait_for_timeout(50)
    script = SUBSCRIBE % json.dumps(device.subscription)
    page.add_init_script(script)
    page.reload()
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("This device is notified.")).to_be_visible()
    return Phone(place, service, device, page)


def hidden(phone: Phone) -> None:
    """Nobody sees the page any more."""
    phone.page.goto("about:blank")


def asking(phone: Phone, request: str = "r1") -> ScriptedSession:
    session = phone.place.session(name="Shop")
    session.serve("permission")
    session.answers["permission"] = {}
    session.ask(request, "Bash", COMMAND)
    return session


def test_a_request_is_shown_and_allowed_on_the_notification_without_a_page(place, service):
    phone = phone_of(place, service)
    hidden(phone)
    session = asking(phone)
    phone.deliver(0)
    shown = phone.wait_for_notification()
    assert shown["body"] == "Shop (Bash)"
    assert [each["title"] for each in shown["actions"]] == ["Allow", "Deny"]
    phone.worker.evaluate(CLICK, [shown["tag"], "allow"])
    phone.wait(lambda: bool(session.calls))
    method, given = session.calls[0]
    assert method.endswith("permission")
    assert (given["id"], given["approved"]) == ("r1", True)
    assert phone.shown() == []


def test_a_request_is_denied_on_the_notification(place, service):
    phone = phone_of(place, service)
    hidden(phone)
    session = asking(phone)
    phone.deliver(0)
    phone.worker.evaluate(CLICK, [phone.wait_for_notification()["tag"], "deny"])
    phone.wait(lambda: bool(session.calls))
    assert session.calls[0][1]["approved"] is False


def test_an_answer_that_comes_too_late_says_so_and_cannot_be_given_again(place, service):
    phone = phone_of(place, service)
    hidden(phone)
    session = asking(phone)
    phone.deliver(0)
    tag = phone.wait_for_notification()["tag"]
    session.answered("r1")
    phone.service.message(1)  # the hub knows it
    phone.worker.evaluate(CLICK, [tag, "allow"])
    shown = phone.wait_for_notification()
    assert "answered already" in shown["body"]
    assert shown["actions"] == []
    assert session.calls == []


def test_an_answer_given_elsewhere_closes_the_notification(place, service):
    phone = phone_of(place, service)
    hidden(phone)
    session = asking(phone)
    phone.deliver(0)
    phone.wait_for_notification()
    session.answered("r1")
    phone.deliver(1)
    phone.wait(lambda: phone.shown() == [])


def test_a_click_opens_the_session_in_the_window_that_is_there(place, service):
    phone = phone_of(place, service)
    phone.page.get_by_label("Also while I look at the page").check()
    session = asking(phone)
    phone.deliver(0)
    phone.worker.evaluate(CLICK, [phone.wait_for_notification()["tag"], ""])
    expect(phone.page).to_have_url(f"{place.url}/sessions/{session.id}")
    expect(phone.page.get_by_role("button", name="Allow", exact=True)).to_be_visible()


def test_nothing_is_sent_while_the_page_is_seen(place, service):
    phone = phone_of(place, service)
    session = asking(phone)
    expect(phone.page.locator("#toasts")).to_contain_text("Shop")
    hidden(phone)
    session.ask("r2", "Bash", COMMAND)
    phone.service.message(0)
    assert len(phone.service.received) == 1


def test_each_setting_of_a_device_reaches_the_hub(place, service, tmp_path):
    phone = phone_of(place, service)
    page = phone.page
    place.session(name="Shop")
    page.reload()
    expect(page.get_by_label("A turn is finished")).to_be_checked()
    page.get_by_label("A turn is finished").uncheck()
    page.get_by_label("Show", exact=True).select_option("Also the command")
    page.get_by_label("Quiet hours").check()
    page.get_by_label("From").fill("21:30")
    page.locator(".notify-sessions summary").click()
    page.get_by_role("checkbox", name="Shop").uncheck()
    page.screenshot(path=str(tmp_path / "notifications.png"), full_page=True)

    def settings() -> dict[str, Any]:
        return dict(place.user.get("/api/notifications/devices")["devices"][0]["settings"])

    phone.wait(lambda: len(settings()["mutedSessions"]) == 1)  # changes are saved in their order
    found = settings()
    assert found["kinds"] == ["permission-request", "ended", "stuck"]
    assert found["detail"] == "command"
    assert (found["quietHours"]["start"], found["quietHours"]["end"]) == ("21:30", "07:00")
    page.get_by_role("button", name="Send a test").click()
    content = phone.device.read(phone.service.message(0).body)
    assert content["data"]["type"] == "test"
    page.get_by_role("button", name="Turn off", exact=True).click()
    expect(page.get_by_role("button", name="Turn on")).to_be_visible()
    assert place.user.get("/api/notifications/devices")["devices"] == []


def test_a_subscription_that_has_ended_is_removed(place, service):
    phone = phone_of(place, service)
    hidden(phone)
    service.statuses.append(410)
    asking(phone)
    phone.wait(lambda: place.user.get("/api/notifications/devices")["devices"] == [])


def test_the_page_opens_without_a_network_and_keeps_no_answer_of_the_hub(place, service):
    phone = phone_of(place, service)
    page = phone.page
    place.session(name="Shop")
    page.goto(place.url)
    phone.wait(
        lambda: page.evaluate("async () => Boolean(navigator.serviceWorker.controller)") is True
    )
    kept = page.evaluate(
        """async () => {
          const found = [];
          for (const name of await caches.keys())
            for (const request of await (await caches.open(name)).keys()) found.push(request.url);
          return found;
        }"""
    )
    paths = [url.removeprefix(place.url) for url in kept]
    assert any(path.endswith("/app.js") for path in paths)
    assert not [path for path in paths if path.startswith(("/api", "/cli", "/health"))]
    place.running.program.end()
    for path in ("/", "/sessions/some-session"):
        page.goto(place.url + path)
        expect(page.locator(".shell")).to_be_visible()
    place.running, place.user = place.cast.hub(OURS, int(place.url.rpartition(":")[2]))


def test_the_page_of_a_new_build_takes_the_place_of_an_older_service_worker(place, tmp_path):
    older, port = tmp_path / "older", urlsplit(place.url).port
    shutil.copytree(Path(hapi.__file__).parent, older / "hapi")
    view = older / "hapi/hub/pages/views/sessions/sessions.js"
    view.write_text(view.read_text().replace('t("New session")', '"Older session"'))
    place.running.program.end()
    place.running, place.user = place.cast.hub(OURS, port, PYTHONPATH=str(older))
    page = place.visit(service_workers="allow")
    expect(page.get_by_role("button", name="Older session")).to_be_visible()
    page.wait_for_function("() => navigator.serviceWorker.controller")
    kept = page.evaluate("() => caches.keys()")
    place.restart_hub()
    page.reload()
    expect(page.get_by_role("button", name="New session")).to_be_visible()
    end = time.monotonic() + TIMEOUT
    while set(kept) & set(page.evaluate("() => caches.keys()")):
        assert time.monotonic() < end, "the older worker stays"
        page.wait_for_timeout(50)
    place.running.program.end()
    page.reload()  # without a hub: what the worker has kept
    expect(page.get_by_role("button", name="New session")).to_be_visible()
    place.running, place.user = place.cast.hub(OURS, port)


def test_the_page_is_installable(place, service):
    phone = phone_of(place, service)
    cdp = phone.page.context.new_cdp_session(phone.page)
    found = cdp.send("Page.getAppManifest")
    assert found["errors"] == []
    errors = cdp.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert [each["errorId"] for each in errors if each["errorId"] != "in-incognito"] == []
