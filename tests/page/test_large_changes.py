"""The page: a working tree with 20,000 changed files, and a difference of 5 MB."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.peer("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
FILES, LINES = 20_000, 100_000
ANSWER_TIMEOUT = 120_000.0  # ms
NO_OBJECT = "0" * 40


def answer(stdout: str) -> dict[str, object]:
    return {"success": True, "stdout": stdout, "stderr": "", "exitCode": 0}


def test_large_changes_are_drawn_a_part_at_a_time(place):
    session = place.session()
    paths = [f"src/dir{number % 100}/file{number}.py" for number in range(FILES)]
    modes = f"N... 100644 100644 100644 {NO_OBJECT} {NO_OBJECT}"
    head = "# branch.oid abc\n# branch.head main\n"
    session.answers |= {
        "git-status": answer(head + "".join(f"1 .M {modes} {path}\n" for path in paths)),
        "git-diff-numstat": answer("".join(f"1\t1\t{path}\n" for path in paths)),
        "git-diff-file": answer(f"@@ -0,0 +1,{LINES} @@\n" + f"+{'x' * 49}\n" * LINES),
    }
    session.serve("git-status", "git-diff-numstat", "git-diff-file")
    page = place.visit(f"/sessions/{session.id}/changes", **PHONE)
    rows = page.locator(".work-row")
    expect(rows).to_have_count(300, timeout=ANSWER_TIMEOUT)
    expect(page.locator(".work-body")).to_contain_text("+20000", timeout=ANSWER_TIMEOUT)
    page.get_by_role("searchbox").fill("file19999")
    expect(rows).to_have_count(1)
    rows.first.click()
    lines = page.locator(".diff-row")
    expect(lines).to_have_count(1000, timeout=ANSWER_TIMEOUT)
    page.get_by_role("button", name="Show more").click()
    expect(lines).to_have_count(2000, timeout=ANSWER_TIMEOUT)
