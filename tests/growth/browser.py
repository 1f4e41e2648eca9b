"""A page in Chromium: what a person sees of one session.

    python -m tests.growth.browser URL SESSION FILE

is a program of its own, which writes what the page shows to FILE each second. The access token is
in the environment.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.task import deferLater

from tests.growth.sessions import parse_text
from tests.support.programs import Stage

if TYPE_CHECKING:
    from tests.growth.run import Run

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
TIMEOUT = 60_000.0  # ms
LAST = 15  # messages at the end of the conversation that are compared
START_TIMEOUT, CHECK_TIMEOUT = 60, 60  # seconds
TOKEN = "GROWTH_TOKEN"


@define(eq=False)
class BrowserPage:
    """The program, as the driver sees it."""

    reactor: Any
    stage: Stage
    url: str
    token: str
    session_id: str

    @property
    def file(self) -> Path:
        return self.stage.path / "browser.json"

    async def start(self) -> None:
        argv = [sys.executable, "-m", "tests.growth.browser", self.url, self.session_id]
        program = self.stage.start("browser", [*argv, str(self.file)], {TOKEN: self.token})
        for _ in range(START_TIMEOUT * 10):
            if self.file.exists():
                return
            if not program.running:
                break
            await deferLater(self.reactor, 0.1)
        raise RuntimeError(f"the page in Chromium does not come up:\n{program.output[-2000:]}")

    async def check(self, run: Run) -> tuple[str, bool, str, list[str]]:
        """The arguments of a check: the page shows the end of its conversation, in order, once."""
        session = next(each for each in run.sessions if each.id == self.session_id)
        wanted = list(range(session.written - LAST + 1, session.written + 1))
        shown: dict[str, Any] = {}
        for _ in range(CHECK_TIMEOUT):
            shown = json.loads(self.file.read_text())
            if shown["numbers"][-LAST:] == wanted:
                break
            await deferLater(self.reactor, 1.0)
        is_same = shown["numbers"][-LAST:] == wanted
        told = f"the last {LAST} messages {'are' if is_same else 'are not'} there, in order; "
        told += f"{len(shown['errors'])} errors of scripts"
        details = [f"shown {shown['numbers'][-LAST:]}, wanted {wanted}", *shown["errors"]]
        return "page in Chromium", is_same and not shown["errors"], told, details


def main(url: str, session_id: str, file: str) -> None:
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(TIMEOUT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/sessions/{session_id}#token={os.environ[TOKEN]}")
        page.locator(".shell").wait_for()
        while True:
            lines = page.locator("main").inner_text().splitlines()
            found = [parse_text(line.strip()) for line in lines]
            numbers = [numbered[1] for numbered in found if numbered is not None]
            new = Path(f"{file}.new")
            new.write_text(json.dumps({"numbers": numbers, "errors": errors}))
            new.replace(file)
            page.wait_for_timeout(1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
