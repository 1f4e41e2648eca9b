"""Who is notified of what, and what a notification can answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.domain.notifications import END_DELAY, STUCK_AFTER
from hapi.hub.notify.answers import LIFETIME
from hapi.hub.notify.assembly import NotifyParts
from hapi.hub.notify.contents import escape_lines
from hapi.hub.notify.recipients import MAX_RECIPIENTS
from hapi.hub.notify.vapid import VapidKey
from hapi.hub.store.sqlite import SqliteStore, memory_store
from tests.support.access_tokens import create_token, request, web_token
from tests.support.hub_stage import Stage, result_of
from tests.support.notify_devices import Device
from tests.support.notify_http import ScriptedHttp, busy

REQUEST = {"tool": "Bash", "arguments": {"command": "rm -rf build"}, "createdAt": 1}
PATH = "/api/notifications/devices"


class Told(Stage):
    """A hub with scripted push services, and one session that is active."""

    def __init__(self, **more: Any) -> None:
        self.http = ScriptedHttp()
        key = VapidKey(None, "mailto:me@example.com")
        secret = more.pop("secret", b"a" * 32)
        super().__init__(
            notify=NotifyParts(key, secret, lambda: self.http),
            **more,
        )
        self.version = 0
        self.sid, self.peer = self.live(name="Shop")
        self.peer.serve(self.sid, "permission")

    def subscribe(self, device: Device, label: str = "Pixel", **settings: Any) -> str:
        """The id of the device at the hub."""
        answer = self.rest("POST", "/api/push/subscribe", {**device.subscription, "label": label})
        assert answer.status == 200, answer
        name = str(answer.body["id"])
        if settings:
            assert self.rest("PATCH", f"{PATH}/{name}", settings).status == 200
        return name

    def show(self, **requests: Any) -> None:
        """The session asks for these permissions, by request id."""
        self.version += 1
        told = self.peer.ask(
            "update-state",
            {
                "sid": self.sid,
                "expectedVersion": self.version,
                "agentState": {"requests": requests},
            },
        )
        assert told["result"] == "success"
        self.tick(1)

    def got(self, device: Device) -> list[dict[str, Any]]:
        return [device.read(sent.body) for sent in self.http.to(device.endpoint)]

    def answer(self, token: str, decision: str) -> Any:
        return self.begin(
            "POST", "/api/notifications/answer", {"token": token, "decision": decision}, None
        )


def test_a_permission_request_reaches_the_device_in_the_form_that_npm_s_page_knows() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    (told,) = stage.got(device)
    answer = told["data"].pop("answer")
    assert told == {
        "title": "Permission Request",
        "body": "Shop (Bash)",
        "tag": f"permission-{stage.sid}",
        "data": {
            "type": "permission-request",
            "sessionId": stage.sid,
            "url": f"/sessions/{stage.sid}",
            "requestId": "r1",
        },
    }
    (sent,) = stage.http.sent
    assert (sent.headers["Urgency"], sent.headers["TTL"]) == ("high", "86400")
    assert stage.sid not in sent.headers["Topic"]
    assert len(answer) < 1024


@pytest.mark.parametrize(("decision", "approved"), [("allow", True), ("deny", False)])
def test_the_notification_answers_without_any_other_token(decision: str, approved: bool) -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    pending = stage.answer(stage.got(device)[0]["data"]["answer"], decision)
    call = json.loads(stage.peer.calls[0][2]["params"])
    assert call == {"id": "r1", "approved": approved}
    stage.peer.answer("{}")
    assert stage.finish(pending).status == 200


def test_an_answer_token_answers_its_request_once_and_no_other() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    token = stage.got(device)[0]["data"]["answer"]
    first = stage.answer(token, "allow")
    assert stage.finish(stage.answer(token, "allow")).status == 404  # while it is on its way
    stage.peer.answer("{}")
    assert stage.finish(first).status == 200
    stage.show(r2=REQUEST)
    assert stage.finish(stage.answer(token, "allow")).status == 404
    stage.show(r1={**REQUEST, "arguments": {"command": "rm -rf /"}, "createdAt": 2})
    late = stage.finish(stage.answer(token, "allow"))
    assert (late.status, late.body["code"]) == (404, "answered")
    assert stage.peer.calls == []


def test_an_answer_token_opens_nothing_else() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    token = stage.got(device)[0]["data"]["answer"]
    assert request(stage, token, "GET", "/api/sessions").status == 401
    assert stage.rest("POST", "/api/auth", {"accessToken": token}, None).status == 401


@pytest.mark.parametrize("change", [lambda token: token[:-1] + "A", lambda token: "A" + token[1:]])
def test_a_changed_token_is_worth_nothing(change: Any) -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    token = change(stage.got(device)[0]["data"]["answer"])
    assert stage.finish(stage.answer(token, "allow")).status == 404


@pytest.mark.parametrize("token", ["", "x", "é" * 10, "A" * 4096, "A" * 5000])
def test_nonsense_is_no_token(token: str) -> None:
    assert stage_status(token) in (400, 404)


def stage_status(token: str) -> int:
    stage = Told()
    return stage.finish(stage.answer(token, "allow")).status


def test_an_answer_token_is_worth_nothing_after_a_day() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    token = stage.got(device)[0]["data"]["answer"]
    stage.start += LIFETIME
    late = stage.finish(stage.answer(token, "allow"))
    assert (late.status, late.body["code"]) == (404, "expired")


def test_the_audit_says_who_answered_and_by_what(tmp_path) -> None:
    stage, device = Told(audit_directory=tmp_path), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    pending = stage.answer(stage.got(device)[0]["data"]["answer"], "deny")
    stage.peer.answer("{}")
    stage.finish(pending)
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [entry["action"] for entry in entries] == ["notifications-on", "permission-deny"]
    assert entries[1]["subject"] == {"session": stage.sid, "request": "r1"}
    assert entries[1]["facts"] == {"notification": "Pixel"}
    assert device.endpoint not in (tmp_path / "audit.jsonl").read_text()


# --- scopes of the device's token -----------------------------------------------------------------


@pytest.mark.parametrize(("scopes", "may_answer"), [(("read",), False), (("approve",), True)])
def test_a_device_may_answer_what_its_access_token_allows(scopes: Any, may_answer: bool) -> None:
    stage, device = Told(), Device()
    page = web_token(stage, create_token(stage, *scopes)["token"])
    assert request(stage, page, "POST", "/api/push/subscribe", device.subscription).status == 200
    stage.show(r1=REQUEST)
    assert ("answer" in stage.got(device)[0]["data"]) is may_answer


def test_a_token_changes_the_notifications_of_its_own_device_only_unless_it_administers(
    tmp_path,
) -> None:
    stage, laptop, phone = (
        Told(audit_directory=tmp_path),
        Device(),
        Device("https://push.example.com/send/2"),
    )
    of_laptop = stage.subscribe(laptop, label="Laptop")
    page = web_token(stage, create_token(stage, "read")["token"])
    made = request(stage, page, "POST", "/api/push/subscribe", phone.subscription)
    of_phone = made.body["id"]
    before = stage.get(PATH)
    for method, path, body in (
        ("PATCH", f"{PATH}/{of_laptop}", {"kinds": [], "detail": "command"}),
        ("POST", f"{PATH}/{of_laptop}/test", None),
        ("DELETE", f"{PATH}/{of_laptop}", None),
    ):
        assert request(stage, page, method, path, body).status == 403
    assert stage.get(PATH) == before
    assert request(stage, page, "PATCH", f"{PATH}/{of_phone}", {"kinds": []}).status == 200
    assert request(stage, page, "DELETE", f"{PATH}/{of_phone}").status == 200
    administers = web_token(stage, create_token(stage, "admin", name="desk")["token"])
    assert request(stage, administers, "DELETE", f"{PATH}/{of_laptop}").status == 200
    entries = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    (change,) = [entry for entry in entries if entry["action"] == "notifications-change"]
    assert (change["outcome"], change["subject"]) == ("done", {"device": of_phone})


def test_who_knows_the_endpoint_of_another_device_neither_removes_it_nor_takes_it_over() -> None:
    stage, laptop = Told(), Device()
    name = stage.subscribe(laptop, label="Laptop")
    page = web_token(stage, create_token(stage, "read")["token"])
    before = stage.get(PATH)
    taken = {**Device(laptop.endpoint).subscription, "label": "Mine"}
    for method, body in (("DELETE", {"endpoint": laptop.endpoint}), ("POST", taken)):
        answer = request(stage, page, method, "/api/push/subscribe", body)
        assert (answer.status, answer.body["code"]) == (403, "scope_missing")
        assert "admin" in answer.body["error"]
    assert stage.get(PATH) == before
    stage.show(r1=REQUEST)
    assert "answer" in stage.got(laptop)[0]["data"]  # it is still the hub's own
    administers = web_token(stage, create_token(stage, "admin", name="desk")["token"])
    again = request(stage, administers, "POST", "/api/push/subscribe", taken)
    assert again.body == {"ok": True, "id": name}


def test_the_endpoint_of_a_device_in_another_namespace_is_not_taken_over() -> None:
    stage, laptop = Told(), Device()
    made = create_token(stage, "admin", name="theirs", namespace="team")
    stage.subscribe(laptop)
    page, body = web_token(stage, made["token"]), Device(laptop.endpoint).subscription
    answer = request(stage, page, "POST", "/api/push/subscribe", body)
    assert (answer.status, "another access token" in answer.body["error"]) == (403, True)
    assert len(stage.get(PATH)["devices"]) == 1


def test_a_browser_that_logs_in_with_another_token_keeps_its_notifications() -> None:
    stage, phone = Told(), Device()
    name = stage.subscribe(phone)
    page = web_token(stage, create_token(stage, "read")["token"])
    again = request(stage, page, "POST", "/api/push/subscribe", phone.subscription)
    assert again.body == {"ok": True, "id": name}
    stage.show(r1=REQUEST)
    assert "answer" not in stage.got(phone)[0]["data"]  # as much as its token allows
    gone = {"endpoint": phone.endpoint}
    assert request(stage, page, "DELETE", "/api/push/subscribe", gone).status == 200
    assert stage.get(PATH) == {"devices": []}


def test_a_revoked_token_ends_the_notifications_and_answers_of_its_device() -> None:
    stage, device = Told(), Device()
    made = create_token(stage, "approve")
    page = web_token(stage, made["token"])
    request(stage, page, "POST", "/api/push/subscribe", device.subscription)
    stage.show(r1=REQUEST)
    token = stage.got(device)[0]["data"]["answer"]
    assert stage.rest("DELETE", f"/api/tokens/{made['id']}").status == 200
    assert stage.finish(stage.answer(token, "allow")).status == 404
    stage.show(r1=REQUEST, r2=REQUEST)
    assert len(stage.got(device)) == 1
    assert stage.get(PATH) == {"devices": []}


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "AskUserQuestion"},
        {"arguments": {"questions": [{"question": "Which?"}]}},
        {"byName": True, "options": [{"id": "a", "name": "A"}]},
    ],
)
def test_what_has_other_answers_than_allow_and_deny_has_no_buttons(change: Any) -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1={**REQUEST, **change})
    assert "answer" not in stage.got(device)[0]["data"]


# --- closing --------------------------------------------------------------------------------------


def test_an_answer_from_elsewhere_closes_the_notification_of_every_device() -> None:
    stage, phone, laptop = Told(), Device(), Device("https://push.example.com/send/2")
    stage.subscribe(phone)
    stage.subscribe(laptop)
    stage.show(r1=REQUEST)
    stage.show()
    for device in (phone, laptop):
        opened, closed = stage.got(device)
        assert closed["data"]["type"] == "close"
        assert closed["tag"] == opened["tag"]
    topics = {sent.headers["Topic"] for sent in stage.http.sent}
    assert len(topics) == 1  # a service that still has the first message keeps only the second


def test_a_notification_stays_while_another_request_waits() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.show(r1=REQUEST)
    stage.show(r1=REQUEST, r2={**REQUEST, "createdAt": 2})
    stage.show(r2={**REQUEST, "createdAt": 2})
    assert [told["data"].get("requestId") for told in stage.got(device)] == ["r1", "r2"]
    stage.show()
    assert stage.got(device)[-1]["data"]["type"] == "close"


def test_a_device_that_was_not_notified_is_not_told_of_the_answer() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device, kinds=["ready"])
    stage.show(r1=REQUEST)
    stage.show()
    assert stage.got(device) == []


# --- what is sent ---------------------------------------------------------------------------------


def test_nothing_is_sent_while_somebody_sees_the_page_unless_a_device_wants_it() -> None:
    stage, usual, always = Told(), Device(), Device("https://push.example.com/send/2")
    stage.subscribe(usual)
    stage.subscribe(always, whileVisible=True)
    page = stage.listen(visible=True)
    stage.show(r1=REQUEST)
    assert (len(stage.got(usual)), len(stage.got(always))) == (0, 1)
    assert len(page.of("toast")) == 1
    page.visible = False
    stage.show(r1=REQUEST, r2={**REQUEST, "createdAt": 2})
    assert (len(stage.got(usual)), len(stage.got(always))) == (1, 2)


@pytest.mark.parametrize(
    ("detail", "title", "body"),
    [
        ("minimal", "HAPI", "An agent asks for permission"),
        ("title", "Permission Request", "Shop (Bash)"),
        ("command", "Permission Request", "Shop (Bash)\nrm -rf build"),
    ],
)
def test_a_device_says_how_much_is_shown(detail: str, title: str, body: str) -> None:
    stage, device = Told(), Device()
    stage.subscribe(device, detail=detail)
    stage.show(r1=REQUEST)
    (told,) = stage.got(device)
    assert (told["title"], told["body"]) == (title, body)
    if detail != "command":
        assert "rm -rf" not in json.dumps(told)


def test_the_longest_request_still_fits_into_a_push_message() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device, detail="command")
    stage.show(**{"r" * 500: {**REQUEST, "arguments": {"command": "🎈\x1b[31m" * 9000}}})
    (told,) = stage.got(device)
    assert "\x1b" not in told["body"]


def test_a_muted_session_is_silent_and_others_are_not() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device, mutedSessions=[stage.sid])
    stage.show(r1=REQUEST)
    assert stage.got(device) == []


@pytest.mark.parametrize(
    ("start", "end", "sent"),
    [("00:00", "23:59", 0), ("22:00", "07:00", 1), ("12:00", "13:00", 0), ("11:00", "12:00", 1)],
)
def test_nothing_is_sent_in_quiet_hours_of_the_person_s_own_place(
    start: str, end: str, sent: int
) -> None:
    stage, device = Told(), Device()  # the hub's clock says 11:06 UTC
    quiet = {"start": start, "end": end, "timeZone": "Europe/Berlin"}
    stage.subscribe(device, quietHours=quiet)
    stage.show(r1=REQUEST)
    assert len(stage.got(device)) == sent


def ready(stage: Told) -> None:
    data = {"type": "ready"}
    content = {"role": "agent", "content": {"type": "event", "id": "e1", "data": data}}
    stage.peer.send("message", {"sid": stage.sid, "message": content})


def test_a_finished_turn_reaches_the_device() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    ready(stage)
    (told,) = stage.got(device)
    assert (told["title"], told["body"]) == ("Ready for input", "OpenCode is waiting in Shop")
    assert told["tag"] == f"ready-{stage.sid}"


def end(stage: Told, reason: str) -> None:
    metadata = {
        **stage.registry.sessions[stage.sid].metadata,
        "lifecycleState": "archived",
        "archiveReason": reason,
    }
    stage.peer.ask(
        "update-metadata", {"sid": stage.sid, "expectedVersion": 1, "metadata": metadata}
    )
    stage.peer.send("session-end", {"sid": stage.sid, "time": stage.now()})


def test_a_session_that_ends_by_itself_is_told_of_with_its_reason() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    end(stage, "The agent exited with status 1")
    stage.tick(END_DELAY + 1)
    (told,) = stage.got(device)
    assert told["data"]["type"] == "ended"
    assert told["body"] == "Shop: The agent exited with status 1"


def test_a_session_that_a_person_has_ended_is_not_told_of() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    end(stage, "User terminated")
    stage.tick(END_DELAY + 1)
    assert stage.got(device) == []


def test_a_session_that_goes_on_at_once_has_not_ended() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.peer.send("session-end", {"sid": stage.sid, "time": stage.now()})
    stage.alive(stage.peer, stage.sid)
    stage.tick(END_DELAY + 1)
    assert stage.got(device) == []


def test_a_turn_without_a_record_for_ten_minutes_is_told_of_once() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)

    def wait(seconds: float) -> None:
        for _ in range(int(seconds // 20)):
            stage.alive(stage.peer, stage.sid, thinking=True)
            stage.clock.advance(20)
            result_of_check(stage)

    wait(STUCK_AFTER - 40)
    ready(stage)  # any record is a sign of life
    stage.got(device).clear()
    before = len(stage.http.sent)
    wait(STUCK_AFTER - 40)
    assert len(stage.http.sent) == before
    wait(STUCK_AFTER * 3)
    told = stage.got(device)[before:]
    assert [each["data"]["type"] for each in told] == ["stuck"]


def result_of_check(stage: Told) -> None:
    result_of(Deferred.fromCoroutine(stage.hub.notifications.check_stuck()))


# --- subscriptions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.com/1",
        "ftp://push.example.com/1",
        "https://localhost/1",
        "https://LOCALHOST/1",
        "https://127.0.0.1:9/1",
        "https://10.0.0.1/1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/1",
        "https://[fd00::1]/1",
        "https://[::ffff:10.0.0.1]/1",
        "https://[64:ff9b::a00:1]/1",
        "https://router/1",
        "https://printer.local/1",
        "https://nas.HOME.arpa/1",
        "https://192.88.99.1/1",
        "https://[fec0::1]/1",
        "https://[2002:808:808::1]/1",
        "https://push.example.com:0/1",
        "https://user:password@push.example.com/1",
        "https://push.example.com:x/1",
        "https:///1",
        "https://push.example.com/ 1",
        "https://push.example.com/" + "a" * 2048,
        "https://127.1/1",
        "https://0x7f.1/1",
        "https://0x7f000001/1",
        "https://0177.0.0.1/1",
        "https://2130706433/1",
        "https://[::ffff:127.0.0.1]/1",
        "https://[::127.0.0.1]/1",
        "https://[64:ff9b:1::a00:1]/1",
        "https://[fe80::1%25eth0]/1",
        "https://localhost./1",
        "https://127.0.0.1./1",
        "https://push.example.com./1",
        "https://push.example.com.:443/1",
        "https://@push.example.com/1",
        "https://push.example.com\\@127.0.0.1/1",
        "https://%31%32%37.0.0.1/1",
        "nonsense",
        "",
    ],
)
def test_an_endpoint_that_could_lead_the_hub_elsewhere_is_refused(endpoint: str) -> None:
    stage = Told()
    answer = stage.rest("POST", "/api/push/subscribe", Device(endpoint).subscription)
    assert answer.status == 400
    assert stage.get(PATH) == {"devices": []}


@pytest.mark.parametrize("body", [{}, {"endpoint": "https://push.example.com/1"}, {"keys": {}}])
def test_half_a_subscription_is_refused(body: Any) -> None:
    assert Told().rest("POST", "/api/push/subscribe", body).status == 400


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("https://127.1/1", "must be four decimal numbers or IPv6"),
        ("https://localhost./1", "without a dot at its end"),
        ("https://user@push.example.com/1", "must not contain a user name"),
        ("https://10.0.0.1/1", "at a public address: that of its host is private or reserved"),
        ("https://x/1", "at a public address: the name of its host is one of local networks"),
        ("https://push.example.com:0/1", "port in the endpoint of a push service must be 1 to"),
    ],
)
def test_a_refused_endpoint_is_told_why(endpoint: str, reason: str) -> None:
    answer = Told().rest("POST", "/api/push/subscribe", Device(endpoint).subscription)
    assert (answer.status, reason in answer.body["error"]) == (400, True)


def test_the_same_subscription_again_keeps_its_id_and_settings() -> None:
    stage, device = Told(), Device()
    name = stage.subscribe(device, "Pixel", detail="minimal")
    again = stage.rest("POST", "/api/push/subscribe", device.subscription)  # as npm's page does
    assert again.body == {"ok": True, "id": name}
    (shown,) = stage.get(PATH)["devices"]
    assert (shown["label"], shown["settings"]["detail"]) == ("Pixel", "minimal")
    assert device.endpoint not in json.dumps(shown)


def test_a_page_unsubscribes_and_hears_nothing_any_more() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    body = {"endpoint": device.endpoint}
    assert stage.rest("DELETE", "/api/push/subscribe", body).body == {"ok": True}
    assert stage.rest("DELETE", "/api/push/subscribe", body).body == {"ok": True}
    stage.show(r1=REQUEST)
    assert stage.got(device) == []


def test_a_subscription_that_has_ended_is_removed_for_good() -> None:
    stage, device = Told(), Device()
    stage.subscribe(device)
    stage.http.replies[device.endpoint] = [busy(410)]
    stage.show(r1=REQUEST)
    assert stage.get(PATH) == {"devices": []}


def test_devices_belong_to_their_namespace() -> None:
    stage, device = Told(), Device()
    name = stage.subscribe(device)
    assert stage.get(PATH, "team") == {"devices": []}
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        assert stage.rest(method, f"{PATH}/{name}{path}", {}, "team").status == 404
    body = {"endpoint": device.endpoint}
    assert stage.rest("DELETE", "/api/push/subscribe", body, "team").status == 200
    assert len(stage.get(PATH)["devices"]) == 1
    stage.live("team", "other")
    assert stage.got(device) == []


def test_a_namespace_has_a_limited_number_of_devices() -> None:
    stage = Told()
    for number in range(MAX_RECIPIENTS):
        stage.subscribe(Device(f"https://push.example.com/{number}"))
    answer = stage.rest("POST", "/api/push/subscribe", Device().subscription)
    assert (answer.status, answer.body["code"]) == (409, "too_many_devices")
    assert stage.rest("POST", "/api/push/subscribe", Device().subscription, "team").status == 200


def test_devices_outlast_the_hub() -> None:
    clock = Clock()
    store = memory_store(clock)
    first, device = Told(store=store), Device()
    first.subscribe(device, detail="command")
    second = Told(store=store)
    (shown,) = second.get(PATH)["devices"]
    assert shown["settings"]["detail"] == "command"


def test_another_access_token_of_the_hub_ends_what_was_made_with_the_old_one() -> None:
    """Answers and devices follow the secret that is made of the access token."""
    store = memory_store(Clock())
    first, device = Told(store=store), Device()
    first.subscribe(device)
    second = Told(store=store, secret=b"b" * 32)
    second.version = second.registry.sessions[second.sid].row.agent_state_version - 1
    second.show(r1=REQUEST)
    assert second.got(device) == []
    second.subscribe(device)
    second.show(r1=REQUEST, r2={**REQUEST, "createdAt": 2})
    assert len(second.got(device)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": ["everything"]},
        {"detail": "all"},
        {"quietHours": {"start": "24:00", "end": "07:00"}},
        {"quietHours": {"start": "22:00", "end": "07:00", "timeZone": "Atlantis/Poseidonis"}},
        {"mutedSessions": "all"},
        {"whileVisible": 1},
    ],
)
def test_settings_that_mean_nothing_are_refused(change: Any) -> None:
    stage, device = Told(), Device()
    name = stage.subscribe(device)
    assert stage.rest("PATCH", f"{PATH}/{name}", change).status == 400


def test_quiet_hours_are_turned_off_by_null() -> None:
    stage, device = Told(), Device()
    name = stage.subscribe(device, quietHours={"start": "22:00", "end": "07:00"})
    changed = stage.rest("PATCH", f"{PATH}/{name}", {"quietHours": None}).body
    assert changed["settings"]["quietHours"] is None


def test_changes_that_arrive_while_others_are_stored_are_all_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, device = Told(), Device()
    path = f"{PATH}/{stage.subscribe(device)}"
    write, writes = SqliteStore.write_recipient, list[Deferred[None]]()

    async def write_late(store: SqliteStore, row: Any) -> Any:
        writes.append(Deferred())
        await writes[-1]
        return await write(store, row)

    monkeypatch.setattr(SqliteStore, "write_recipient", write_late)
    changes = ({"kinds": ["ended"]}, {"detail": "command"}, {"mutedSessions": [stage.sid]})
    pending = [stage.begin("PATCH", path, change) for change in changes]
    for written in writes:  # grows with each change that begins
        written.callback(None)
    assert [stage.finish(each).status for each in pending] == [200, 200, 200]
    settings = stage.get(PATH)["devices"][0]["settings"]
    assert {name: settings[name] for change in changes for name in change} == {
        name: value for change in changes for name, value in change.items()
    }


def test_a_change_that_waits_while_its_device_is_removed_does_not_bring_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage, device = Told(), Device()
    path = f"{PATH}/{stage.subscribe(device)}"
    turn, stored = SqliteStore.turn, Deferred[None]()

    async def turn_late(store: SqliteStore, owner: str, change: Any) -> Any:
        await stored
        return await turn(store, owner, change)

    monkeypatch.setattr(SqliteStore, "turn", turn_late)
    first, second = (stage.begin("PATCH", path, {"detail": word}) for word in ("title", "command"))
    removal = stage.begin("DELETE", path)
    stored.callback(None)
    statuses = [stage.finish(each).status for each in (first, second, removal)]
    assert statuses == [200, 404, 200]
    assert result_of(Deferred.fromCoroutine(stage.store.recipients())) == []


def test_a_test_notification_says_that_it_arrived() -> None:
    stage, device = Told(), Device()
    name = stage.subscribe(device)
    assert stage.rest("POST", f"{PATH}/{name}/test", {}).status == 200
    assert stage.got(device)[0]["data"] == {"type": "test", "url": "/"}


def test_the_key_of_the_hub_is_the_one_that_signs() -> None:
    stage, device = Told(), Device()
    public = stage.get("/api/push/vapid-public-key")["publicKey"]
    name = stage.subscribe(device)
    stage.rest("POST", f"{PATH}/{name}/test", {})
    assert stage.http.sent[0].headers["Authorization"].endswith(f"k={public}")


def test_what_would_hide_or_turn_round_a_text_is_shown():
    said = escape_lines("Command: ls \u202elruc\u200b\nnext")
    assert said == "Command: ls \\u202elruc\\u200b\nnext"
