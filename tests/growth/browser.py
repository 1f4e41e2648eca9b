"""A page in Chromium: what a person sees of one session."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from tests.growth.sessions import parse_text

if TYPE_CHECKING:
    from tests.growth.run import Run

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
TIMEOUT = 60_000.0  # ms
LAST = 15  # messages at the end of the conversation that are compared
CHECK_TIMEOUT = 60  # tries, one a second


@define(eq=False)
class BrowserPage:
    """Playwright's own thread is the only one that uses it."""

    url: str
    token: str
    session_id: str
    errors: list[str] = field(factory=list)
    _pool: ThreadPool = field(factory=lambda: ThreadPool(1, 1, name="browser"))
    _playwright: Any = None
    _browser: Any = None
    _page: Any = None

    async def _do(self, work: Any) -> Any:
        from twisted.internet import reactor

        return await deferToThreadPool(reactor, self._pool, work)

    async def start(self) -> None:
        self._pool.start()
        await self._do(self._start)

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        program = shutil.which("chromium")
        self._browser = self._playwright.chromium.launch(executable_path=program, args=FLAGS)
        self._page = self._browser.new_page(viewport={"width": 1280, "height": 900})
        self._page.set_default_timeout(TIMEOUT)
        self._page.on("pageerror", lambda error: self.errors.append(str(error)))
        self._page.goto(f"{self.url}/sessions/{self.session_id}#token={self.token}")
        self._page.locator(".shell").wait_for()

    def _texts(self) -> list[str]:
        return self._page.locator("main").inner_text().splitlines()

    async def check(self, run: Run) -> tuple[str, bool, str, list[str]]:
        """The arguments of a check: the page shows the end of its conversation, in order, once."""
        session = next(each for each in run.sessions if each.id == self.session_id)
        wanted = list(range(session.written - LAST + 1, session.written + 1))
        found: list[int] = []
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        for _ in range(CHECK_TIMEOUT):
            lines = await self._do(self._texts)
            numbers = [numbered[1] for line in lines if (numbered := parse_text(line.strip()))]
            found = numbers[-LAST:]
            if found == wanted:
                break
            await deferLater(reactor, 1.0)
        is_same = found == wanted
        numbers = f"the last {LAST} messages {'are' if is_same else 'are not'} there, in order"
        details = [f"shown {found}, wanted {wanted}", *self.errors]
        told = f"{numbers}; {len(self.errors)} errors of scripts"
        return "page in Chromium", is_same and not self.errors, told, details

    async def stop(self) -> None:
        def stop() -> None:
            if self._browser is not None:
                self._browser.close()
            if self._playwright is not None:
                self._playwright.stop()

        await self._do(stop)
        self._pool.stop()
