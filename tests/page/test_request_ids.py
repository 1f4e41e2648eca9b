"""The page: a failure of the hub shows the id under which the hub's log has the request."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")


def test_the_id_that_a_failure_shows_is_in_the_hubs_log(place):
    machine = place.machine(host="devbox")
    page = place.visit(f"/machines/{machine.machine_id}")
    (place.running.home / "hub.db").unlink()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("Under the desk")
    page.get_by_role("button", name="Save").click()
    problem = page.get_by_text("was deleted, replaced or moved").first
    expect(problem).to_contain_text("(Request ")
    request_id = re.search(r"\(Request (\w+)\)", problem.inner_text())[1]
    lines = [
        json.loads(line)
        for path in (place.running.home / "logs").glob("*-hub.log")
        for line in path.read_text().splitlines()
    ]
    assert [line["status"] for line in lines if line.get("request_id") == request_id] == [503]


def test_a_refusal_has_no_id(place):
    machine = place.machine(host="devbox")
    page = place.visit(f"/machines/{machine.machine_id}")
    page.route(
        f"**/api/machines/{machine.machine_id}",
        lambda route: route.fulfill(status=409, json={"error": "Taken", "requestId": "4f1c"}),
    )
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name").fill("Under the desk")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Taken").first).to_be_visible()
    assert "4f1c" not in page.content()
